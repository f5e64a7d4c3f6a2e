"""Text as a terminal may get it: control characters in names, paths and transcripts are shown, never acted on."""

from __future__ import annotations

import json
import unicodedata

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
