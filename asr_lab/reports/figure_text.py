"""Names and texts in legends: matplotlib would leave out what begins with `_`."""

from __future__ import annotations

from asr_lab.system.visible_text import one_line


def figure_text(value: object) -> str:
    """Return a text as matplotlib shows it in a legend; `fonts.fitted` sees to its characters."""
    text = one_line(value)
    return f" {text}" if text.startswith("_") else text
