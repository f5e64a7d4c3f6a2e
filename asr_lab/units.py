"""Sample rates, hops and the conversions between seconds, samples and frames; durations and sizes as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

SAMPLE_RATE = 16_000  # Hz; input rate of all models, other rates are resampled on reading
FRAME_SHIFT_S = 0.010  # s; hop of the filter bank
FRAME_LENGTH_S = 0.020  # s; window of the filter bank (KoSpeech's 20 ms)
FRAME_SHIFT = int(SAMPLE_RATE * FRAME_SHIFT_S)  # 160 samples
FRAME_LENGTH = int(SAMPLE_RATE * FRAME_LENGTH_S)  # 320 samples
NUM_MEL_BINS = 80


def num_frames(num_samples: int) -> int:
    """Filter-bank frames of a signal (whole windows only, Kaldi's `snip_edges`); 16000 samples -> 99."""
    return max(0, 1 + (num_samples - FRAME_LENGTH) // FRAME_SHIFT) if num_samples >= FRAME_LENGTH else 0


def num_samples(duration_s: float) -> int:
    """Samples of a duration in seconds at `SAMPLE_RATE`."""
    return round(duration_s * SAMPLE_RATE)


def frames_needed(labels: Sequence[int]) -> int:
    """The fewest output frames in which CTC can write the labels: one each, and a blank between equal neighbours."""
    return len(labels) + sum(one == other for one, other in pairwise(labels))


def hms(seconds: float) -> str:
    """Format a duration: `7.3 s`, `2 min 05 s`, `3 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def age(seconds: float) -> str:
    """Format an age: `0 min`, `5 min`, `3 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3600, "h")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0, seconds) // 60)} min"


def ago(seconds: float) -> str:
    """Format a time in the past: `now`, `5 min ago`, `3 h ago`, `2 d ago`."""
    return f"{age(seconds)} ago" if seconds >= 60 else "now"


_SINGULAR = {"are": "is", "have": "has", "were": "was", "do": "does"}


def counted(number: int, noun: str, verb: str = "") -> str:
    """Format a count: `1 run`, `3 runs`; with a verb, given in the plural: `1 run has`, `3 runs have`."""
    if number != 1:
        return f"{number} {noun}s {verb}".rstrip()
    return f"{number} {noun} {_SINGULAR.get(verb, f'{verb}s') if verb else ''}".rstrip()


def all_of(number: int, noun: str, verb: str = "") -> str:
    """Format a count of all that there are: `all 3 runs`, `the only run`; the verb as of `counted`."""
    text = counted(number, noun, verb)
    return f"the only{text[1:]}" if number == 1 else f"all {text}"


def megabytes(num_bytes: float | None) -> str:
    """Format a size: `12 kB`, `3.4 MB`, `1.2 GB`; a dash if unknown."""
    if num_bytes is None or num_bytes != num_bytes:
        return "-"
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
