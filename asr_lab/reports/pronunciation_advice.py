"""What to tell a learner about a phoneme: how it is written in IPA, a word that has it, and how it is made.

The sentences of `advice.json` are what is commonly taught about the articulation of English (of General American).
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
    """A phoneme for people."""

    ipa: str
    as_in: str
    how: str


def sound(phoneme: str) -> Sound | None:
    """What is known of an ARPAbet phoneme; None of what is none, such as `<unk>`."""
    found = _advice()["phonemes"].get(phoneme)
    return Sound(*found) if found else None


def advice(canonical: str, said: str) -> str:
    """What to do about a confusion: its own sentence, or how the canonical phoneme is made.

    `said` may be `<del>`; a `canonical` of "" means that `said` was inserted.
    """
    known = _advice()
    if not canonical:
        return str(known["inserted"])
    own = known["confusions"].get(f"{canonical}>{said}")
    made = sound(canonical)
    if own is None and said == DELETED:
        return f"{known['left_out']} {made.how if made else ''}".strip()
    return str(own) if own else made.how if made else ""


@cache
def _advice() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("asr_lab.reports").joinpath("advice.json").read_text(encoding="utf-8"))
    return content
