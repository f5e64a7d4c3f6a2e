"""Statistics of a manifest as tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from asr_lab.data import bins, columns
from asr_lab.data.text import TextNormalizer
from asr_lab.data.text import characters as count_characters


def by_field(cuts: Any, name: str = "speaker") -> pd.DataFrame:
    """Return a row per value of the field: utterances, minutes, words, mean and longest duration in seconds."""
    rows = pd.DataFrame(
        {
            name: columns.factor(cuts, name).of_each(str),
            "seconds": columns.durations(cuts),
            "words": [len(text.split()) for batch in columns.texts(cuts) for text in batch],
        }
    )
    grouped = rows.groupby(name)
    return pd.DataFrame(
        {
            "utterances": grouped.size(),
            "minutes": grouped["seconds"].sum() / 60,
            "words": grouped["words"].sum(),
            "mean_s": grouped["seconds"].mean(),
            "longest_s": grouped["seconds"].max(),
        }
    ).reset_index()


def by_bin(cuts: Any, name: str) -> pd.DataFrame:
    """Return a row per bin of a numeric field (`bins.FIELDS`), in order: utterances, minutes, share of the hours."""
    column = columns.factor(cuts, name)
    seconds = pd.Series(columns.durations(cuts))
    of_values = bins.labelled(pd.Series([*column.values, None]), name)
    label = pd.Series(of_values.to_numpy()[column.codes])
    rows = [
        {
            name: value,
            "utterances": int((label == value).sum()),
            "minutes": float(seconds[label == value].sum()) / 60,
            "share": float(seconds[label == value].sum() / seconds.sum()),
        }
        for value in bins.ordered(label)
    ]
    return pd.DataFrame(rows)


def characters(cuts: Any, normalizer: TextNormalizer) -> Counter[str]:
    """Count the characters of the normalised transcripts."""
    counts: Counter[str] = Counter()
    for batch in columns.texts(cuts):
        counts.update(count_characters(normalizer.all(batch)))
    return counts
