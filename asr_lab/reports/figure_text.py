"""Names and texts in figures: matplotlib would take `$...$` for a formula, and leave out what begins with `_`."""

from __future__ import annotations

from asr_lab.system.terminal import one_line


def figure_text(value: object) -> str:
    """Return a text as matplotlib shows it as it is, in a legend too."""
    text = one_line(value).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
