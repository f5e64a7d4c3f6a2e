"""Advice on a phoneme: its IPA symbol, an example word, and its articulation.

The sentences of `advice.json` describe the articulation of General American English as commonly taught.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from asr_lab.data.pronunciation import DELETED


@dataclass(frozen=True)
class Sound:
    """A phoneme as shown to a learner."""

    ipa: str
    as_in: str
    how: str


def sound(phoneme: str) -> Sound | None:
    """Look up an ARPAbet phoneme; None for any other symbol, such as `<unk>`."""
    entry = _advice()["phonemes"].get(phoneme)
    return Sound(*entry) if entry else None


def advice(canonical: str, produced: str) -> str:
    """Return advice on a confusion: its own sentence, or the articulation of the canonical phoneme.

    `produced` may be `<del>`; a `canonical` of "" means that `produced` was inserted.
    """
    known = _advice()
    if not canonical:
        return str(known["inserted"])
    own = known["confusions"].get(f"{canonical}>{produced}")
    made = sound(canonical)
    if own is None and produced == DELETED:
        return f"{known['left_out']} {made.how if made else ''}".strip()
    return str(own) if own else made.how if made else ""


@cache
def _advice() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("asr_lab.reports").joinpath("advice.json").read_text(encoding="utf-8"))
    return content
