"""Text on a terminal: names, paths and transcripts are never markup, and control characters in them are shown."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment
from rich.text import Text

_JOINERS = "\u200c\u200d"  # of Persian words and of emoji


def visible(text: str, keep: str = "\n\t") -> str:
    """Return the text with what a terminal or a reader would act on as JSON escapes: `\\u001b`, `\\u202e`.

    Control characters but those of `keep`, changes of direction, invisible and undecodable characters; JSON stays the
    same JSON.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign in keep or _is_visible(sign) else _escaped(sign) for sign in text)


def one_line(value: object) -> str:
    """Return `visible` text without line breaks."""
    return visible(str(value), keep="")


def _is_visible(sign: str) -> bool:
    return sign.isprintable() or sign in _JOINERS or unicodedata.category(sign) in ("Zs", "Co", "Cn")


def _escaped(sign: str) -> str:
    return "\\u007f" if sign == "\x7f" else json.dumps(sign)[1:-1]


class Console(console.Console):
    """A rich console on which printed text is no markup; only the template of `say` is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def say(self, template: str, *values: object, end: str = "\n") -> None:
        """Print a template with markup; each `{}` is a value, a line of plain text in the style around it."""
        said, rest = Text(), Text.from_markup(template, emoji=False)
        for value in values:
            gap = rest.plain.index("{}")
            style = rest.get_style_at_offset(self, gap)
            before, _, rest = rest.divide([gap, gap + 2])
            said.append_text(before).append(one_line(value), style)
        self.print(said.append_text(rest), soft_wrap=True, end=end)

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, with `visible` text."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)
