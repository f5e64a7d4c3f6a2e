"""A console of rich: names, paths and transcripts are never markup, and control characters in them are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment
from rich.text import Text

from asr_lab.system.visible_text import one_line, visible


class Console(console.Console):
    """A rich console on which printed text is no markup; only the template of `say` is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def say(self, template: str, *values: object, end: str = "\n") -> None:
        """Print a template with markup; each `{}` is a value, a line of plain text in the style around it."""
        text, rest = Text(), Text.from_markup(template, emoji=False)
        for value in values:
            gap = rest.plain.index("{}")
            style = rest.get_style_at_offset(self, gap)
            before, _, rest = rest.divide([gap, gap + 2])
            text.append_text(before).append(one_line(value), style)
        self.print(text.append_text(rest), soft_wrap=True, end=end)

    def warn(self, lines: Iterable[str], *, indent: str = "") -> None:
        """Print a line per warning."""
        for line in lines:
            self.say(f"{indent}[yellow]warning[/] {{}}", line)

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, with `visible` text."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)
