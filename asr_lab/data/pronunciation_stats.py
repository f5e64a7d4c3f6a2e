"""Pronunciation errors in a manifest: rates by speaker or first language, and confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.pronunciation import DELETED, UNKNOWN, check_pronunciations, is_annotated, pronunciation


def annotated(cuts: Iterable[Cut], where: str = "") -> list[Cut]:
    """Return the utterances with pronunciation labels; raises `AsrLabError` that names every fault of them."""
    names = ("perceived", "errors")
    utterances = [cut for cut in cuts if any(manifest.field(cut, name) is not None for name in names)]
    check_pronunciations(utterances, where)
    return utterances


def errors_by(cuts: Iterable[Cut], name: str) -> pd.DataFrame:
    """Return a row per value of the field: canonical phonemes, error rate, and counts by kind of error.

    An error with the perceived phoneme `<unk>`, or with the canonical phoneme accented, is a substitution.
    """
    rows = []
    for cut in cuts:
        labels = pronunciation(cut)
        deleted = labels.perceived.count(DELETED)
        rows.append(
            {
                name: str(manifest.field(cut, name)),
                "phonemes": len(labels.canonical),
                "errors": sum(labels.errors),
                "substituted": sum(labels.errors) - deleted,
                "deleted": deleted,
                "inserted": sum(map(len, labels.insertions)),
            }
        )
    table = pd.DataFrame(rows).groupby(name).sum().reset_index()
    table.insert(2, "error_rate", table.pop("errors") / table["phonemes"])
    return table


def confusions(cuts: Iterable[Cut]) -> Counter[tuple[str, str]]:
    """Count (canonical, perceived) errors; canonical is "" for insertions, perceived `<unk>` if unidentified."""
    counts: Counter[tuple[str, str]] = Counter()
    for cut in cuts:
        if not is_annotated(cut):
            continue
        labels = pronunciation(cut)
        pairs = zip(labels.canonical, labels.perceived, labels.errors, strict=True)
        counts.update((a, b) for a, b, error in pairs if error and a != b)
        counts.update(("", phoneme) for slot in labels.insertions for phoneme in slot if phoneme != UNKNOWN)
    return counts
