"""Statistics of a manifest as tables, and checks of its audio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from asr_lab.data import bins, columns
from asr_lab.data.audio_places import MEMBER_DIGEST, member_of, read_member
from asr_lab.data.identity import bytes_digest, file_digest
from asr_lab.data.text import TextNormalizer
from asr_lab.data.text import characters as count_characters
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE


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


def check_audio(cuts: Any, progress: Callable[[int], None] | None = None) -> tuple[list[str], list[str]]:
    """Read all audio. Return (faults, notes): missing, truncated or changed files; resampled or mixed-down ones."""
    from asr_lab.data.audio import read_cut

    faults: list[str] = []
    rates: Counter[int] = Counter()
    several = 0
    for cut in cuts:
        try:
            read_cut(cut)
        except AsrLabError as error:
            faults.append(f"{cut.id}: {error.what} ({error.where})")
        else:
            faults += _changed(cut)
        rates[cut.recording.sampling_rate] += 1
        several += cut.num_channels > 1
        if progress:
            progress(1)
    notes = [f"{n} utterances are resampled from {r} Hz" for r, n in sorted(rates.items()) if r != SAMPLE_RATE]
    notes += [f"{several} utterances have several channels, mixed to one"] if several else []
    return faults, notes


def _changed(cut: Any) -> list[str]:
    source = str(cut.recording.sources[0].source)
    if member := member_of(source):
        digest, own = (cut.custom or {}).get(MEMBER_DIGEST), bytes_digest(read_member(member))
    else:
        digest, own = (cut.supervisions[0].custom or {}).get("audio_digest"), file_digest(Path(source))
    return [f"{cut.id}: the audio is not the one that was imported ({source})"] if digest and own != digest else []
