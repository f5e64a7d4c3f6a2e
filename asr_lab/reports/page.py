"""A page that needs nothing else: the head that all pages share, and a template of its own."""

from __future__ import annotations

from importlib.resources import files
from string import Template


def page(name: str, **parts: str) -> str:
    """`head.html` (colours, type, width) and `NAME.html` behind it, filled with `parts`; the page's `title` is one."""
    folder = files("asr_lab.reports")
    head, body = (folder.joinpath(f"{each}.html").read_text(encoding="utf-8") for each in ("head", name))
    return Template(head + body).substitute(parts)
