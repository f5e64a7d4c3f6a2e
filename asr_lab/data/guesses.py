"""Fields that an importer guessed: marked in the manifest (`guessed`, a custom field), and told wherever they count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from lhotse import SupervisionSegment
from lhotse.cut import Cut

GUESSED = "guessed"
"""Custom field: the guessed fields, separated by commas."""
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


def notes(cuts: Iterable[Cut]) -> list[str]:
    """Return a line per guessed field with the number of utterances that it was guessed for."""
    rows = list(cuts)
    counts = Counter(name for cut in rows for segment in cut.supervisions for name in _of(segment))
    return [
        f"warning: the {name}s of {count} of {len(rows)} utterances are guessed, not named by the corpus"
        for name, count in sorted(counts.items())
    ]
