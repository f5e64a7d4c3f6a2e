"""User errors: what is wrong, where, what is allowed, and the next command."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class AsrLabError(Exception):
    """A user's mistake. The command line prints it without a traceback and exits with 1.

    `assert` is for our own bugs; this is for everything a user can set right.
    """

    def __init__(
        self, what: str, *, where: str = "", allowed: str = "", next_command: str = "", hint: str = ""
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.allowed = what, where, allowed
        self.next_command, self.hint = next_command, hint

    def __str__(self) -> str:
        lines = [self.what]
        labelled = (("where", self.where.replace("\n", "\\n")), ("allowed", self.allowed), ("hint", self.hint))
        lines += [f"  {label}: {text}" for label, text in labelled if text]
        message = brief("\n".join(lines))
        return message + (f"\n  try: {brief(self.next_command, _LONGEST_PATH)}" if self.next_command else "")


class UnavailableError(AsrLabError):
    """What was asked for does not answer, or refuses for now; a later attempt may succeed."""


_LONG_WORD, _LONGEST_PATH = 300, 1100  # characters; a key of S3 has 1,024 at most
_LONG_LINE = re.compile(r".{2000,}")


def brief(message: str, longest: int = _LONG_WORD) -> str:
    """Return a message without the middle of words as long as `longest`, and of lines that would fill the terminal."""
    message = re.sub(rf"\S{{{longest},}}", lambda word: _without_middle(word[0], 60), message)
    return _LONG_LINE.sub(lambda line: _without_middle(line[0], 600), message)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[:kept]}...({len(text) - 2 * kept:,} characters)...{text[-kept:]}"


def reason(error: BaseException) -> str:
    """Return why something failed; for errors of other libraries with their class, which may be all they say."""
    text, kind = str(error), type(error)
    if text and kind.__module__.startswith(f"{__package__}."):
        return text
    return f"{kind.__name__}: {text}" if text else kind.__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: torch raises errors of its own."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "allocate memory" in str(error) or "not enough memory" in str(error)


def nearest(name: str, valid: Iterable[str], similarity: float = 0.5) -> str:
    """Return the valid name most similar to `name`, or "" if none is similar (0 to 1)."""
    close = get_close_matches(name, list(valid), n=1, cutoff=similarity)
    return close[0] if close else ""


def listing(names: Iterable[object], limit: int = 12) -> str:
    """Format names for a message: `a, b, c and 5 more`."""
    shown = [str(name).replace("\n", "\\n") for name in names]
    rest = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" and {rest} more" if rest > 0 else "")


_NOT_WRITTEN = re.compile(r"PytorchStreamWriter|inline_container|iostream|unexpected pos|I/?O ?error", re.IGNORECASE)


def not_written(error: BaseException) -> str:
    """Return why a file could not be written, or "" for another kind of error.

    A full disk is an `OSError` to Python; torch and safetensors raise errors of their own.
    """
    lines = str(error).splitlines()
    if isinstance(error, OSError) or any(_NOT_WRITTEN.search(line) for line in lines):
        return getattr(error, "strerror", "") or (lines[0] if lines else "") or type(error).__name__
    return ""
