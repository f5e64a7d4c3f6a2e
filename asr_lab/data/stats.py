"""Statistics of a manifest as tables, and checks of its audio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from lhotse import CutSet

from asr_lab.data import bins, manifest
from asr_lab.data.audio import read_cut
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE


def by_field(cuts: CutSet, name: str = "speaker") -> pd.DataFrame:
    """Return a row per value of the field: utterances, minutes, words, mean and longest duration in seconds."""
    rows = pd.DataFrame(
        {
            name: [str(manifest.field(cut, name)) for cut in cuts],
            "seconds": [cut.duration for cut in cuts],
            "words": [len(manifest.text(cut).split()) for cut in cuts],
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


def by_bin(cuts: CutSet, name: str) -> pd.DataFrame:
    """Return a row per bin of a numeric field (`bins.FIELDS`), in order: utterances, minutes, share of the hours."""
    values = pd.Series([cut.duration if name == "duration_s" else manifest.field(cut, name) for cut in cuts])
    seconds = pd.Series([cut.duration for cut in cuts])
    label = bins.labelled(values, name)
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


def characters(cuts: CutSet, normalizer: TextNormalizer) -> Counter[str]:
    """Count the characters of the normalised transcripts."""
    return Counter(c for cut in cuts for c in normalizer(manifest.text(cut)))


def check_audio(cuts: CutSet, progress: Callable[[int], None] | None = None) -> tuple[list[str], list[str]]:
    """Read all audio. Return (faults, notes): missing, truncated or changed files; resampled or mixed-down ones."""
    faults: list[str] = []
    rates: Counter[int] = Counter()
    several = 0
    for cut in cuts:
        try:
            read_cut(cut)
        except AsrLabError as error:
            faults.append(f"{cut.id}: {error.what} ({error.where})")
        else:
            faults += _changed(cut.id, Path(cut.recording.sources[0].source), manifest.field(cut, "audio_digest"))
        rates[cut.recording.sampling_rate] += 1
        several += cut.num_channels > 1
        if progress:
            progress(1)
    notes = [f"{n} utterances are resampled from {r} Hz" for r, n in sorted(rates.items()) if r != SAMPLE_RATE]
    notes += [f"{several} utterances have several channels, mixed to one"] if several else []
    return faults, notes


def _changed(id: str, audio: Path, digest: str | None) -> list[str]:
    if digest and manifest.file_digest(audio) != digest:
        return [f"{id}: the audio is not the one that was imported ({audio})"]
    return []
