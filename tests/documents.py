"""The Markdown pages of the documentation, read for tests: code blocks, inline code, links, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "asr_lab" / "guide"
PAGES = sorted([ROOT / "README.md", *ROOT.glob(".github/*.md"), *GUIDE.glob("*.md")])

SHELL = ("bash", "sh")
_MARK = re.compile(r"<!-- run(?: expects: (?P<expects>.+?))? -->")
_SEPARATORS = {"&&", "||", "|", ";"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block. `run`: a comment `<!-- run -->` stands before it; `expects`: text that its output must have."""

    language: str
    text: str
    line: int
    run: bool
    expects: str


def tokens(page: Path) -> list[Token]:
    """What markdown-it makes of a page."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    made: list[Block] = []
    mark: re.Match[str] | None = None
    for token in tokens(page):
        if token.type == "fence":
            expects = (mark["expects"] or "") if mark else ""
            line = (token.map or [0])[0] + 1
            made.append(
                Block(language=token.info, text=token.content, line=line, run=mark is not None, expects=expects)
            )
        mark = _MARK.fullmatch(token.content.strip()) if token.type == "html_block" else None
    return made


def _inline(page: Path) -> Iterator[Token]:
    for token in tokens(page):
        yield from token.children or ()


def inline_code(page: Path) -> list[str]:
    """The inline code of a page."""
    return [token.content for token in _inline(page) if token.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Targets of links and images."""
    targets = [token.attrGet("href") or token.attrGet("src") for token in _inline(page)]
    return [str(target) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """The headings of a page as a forge names them in `#...`."""
    texts = [
        following.content
        for token, following in zip(tokens(page), tokens(page)[1:], strict=False)
        if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def commands(text: str) -> list[list[str]]:
    """The words of every `asr-lab ...` in shell text; several configs in braces are written out."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((place for place, word in enumerate(words) if word in _SEPARATORS), len(words))
            command, words = words[:end], words[end + 1 :]
            start = next((word for word in command if word in ("asr-lab", "asr_lab")), None)
            if start:
                found.append([name for word in command[command.index(start) + 1 :] for name in _braces(word)])
    return found


def _braces(word: str) -> list[str]:
    match = re.fullmatch(r"(.*)\{([^{}]+,[^{}]+)\}(.*)", word)
    return [match[1] + part + match[3] for part in match[2].split(",")] if match else [word]


def all_commands(page: Path) -> list[list[str]]:
    """The words of every `asr-lab ...` of a page, in blocks and in inline code."""
    shell = [block.text for block in blocks(page) if block.language in SHELL]
    inline = [code for code in inline_code(page) if code.startswith("asr-lab ") or " -m asr_lab " in code]
    return [words for text in (*shell, *inline) for words in commands(text)]
