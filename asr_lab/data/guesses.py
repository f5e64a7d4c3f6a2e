"""Fields that an importer guessed: marked in the manifest (`guessed`, a custom field), reported where they count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_lab.data.columns import factor
from asr_lab.data.identity import GUESSED as GUESSED

if TYPE_CHECKING:
    from lhotse import SupervisionSegment

_HANGUL = re.compile("[ㄱ-ㆎ가-힣ᄀ-ᇿ]")


def mark(segment: SupervisionSegment, *fields: str) -> None:
    """Mark fields of an utterance as guessed, beside those marked before."""
    if fields:
        segment.custom = {**(segment.custom or {}), GUESSED: ",".join(sorted({*_of(segment), *fields}))}


def mark_korean(segment: SupervisionSegment) -> None:
    """Mark the language as guessed if an importer of Korean speech finds no Hangul in the text."""
    if not _HANGUL.search(segment.text or ""):
        mark(segment, "language")


def _of(segment: SupervisionSegment) -> list[str]:
    return [name for name in str((segment.custom or {}).get(GUESSED) or "").split(",") if name]


def notes(parts: Iterable[Any]) -> list[str]:
    """Return a line per guessed field with the number of utterances of all parts that it was guessed for."""
    counts, total = Counter[str](), 0
    for cuts in parts:
        marked = factor(cuts, GUESSED)
        total += len(marked.codes)
        for value, number in zip(marked.values, np.bincount(marked.codes[marked.codes >= 0]).tolist(), strict=False):
            counts.update(dict.fromkeys((name for name in str(value).split(",") if name), number))
    return [
        f"warning: the {name}s of {count} of {total} utterances are guessed, not named by the corpus"
        for name, count in sorted(counts.items())
    ]
