"""Names and texts in Markdown: shown as they are, never as markup."""

from __future__ import annotations

import re

from asr_lab.system.visible_text import one_line

_SIGNS = re.compile(r"[\\|<*`~\[\]&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def escape_markdown(value: object) -> str:
    """Return one line of Markdown that shows a text: no emphasis, code, link, table cell, entity or HTML."""
    return _SIGNS.sub(r"\\\g<0>", one_line(value))


def code_span(value: object) -> str:
    """Return a text as inline code, whatever backticks are in it."""
    text = one_line(value)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in (text[:1], text[-1:]) else ""
    return f"{fence}{pad}{text}{pad}{fence}"
