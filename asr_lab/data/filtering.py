"""Filter utterances that cannot be used for training, and report them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_lab.data.columns import durations, ids, take, texts
from asr_lab.data.text import count_labels
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted, frames_needed, num_samples

if TYPE_CHECKING:
    from lhotse.cut import Cut


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a training and its model take."""

    output_frames: Callable[[int], int]
    """Maps a number of samples to frames of the model's output."""
    max_duration_s: float
    min_duration_s: float = 0.0


@dataclass(frozen=True)
class FilterResult:
    """The usable utterances, and ids of the others by reason."""

    cuts: Any
    too_long: list[str] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)
    more_labels_than_frames: list[str] = field(default_factory=list)
    no_text: list[str] = field(default_factory=list)
    unknown_characters: Counter[str] = field(default_factory=Counter)

    def warnings(self, split: str) -> list[str]:
        """Return a line per reason."""
        lines = []
        if self.too_long:
            lines.append(
                f"{split}: {counted(len(self.too_long), 'utterance')} too long, left out: {listing(self.too_long, 5)}"
            )
        if self.too_short:
            lines.append(
                f"{split}: {counted(len(self.too_short), 'utterance')} too short for the model, left out: "
                f"{listing(self.too_short, 5)}"
            )
        if self.more_labels_than_frames:
            lines.append(
                f"{split}: {counted(len(self.more_labels_than_frames), 'utterance', 'have')} more labels "
                "than frames, left out: "
                f"{listing(self.more_labels_than_frames, 5)}"
            )
        if self.no_text:
            lines.append(
                f"{split}: {len(self.no_text)} transcripts are empty once normalised, left out: "
                f"{listing(self.no_text, 5)}"
            )
        if self.unknown_characters:
            counts = [f"{character!r} x {n}" for character, n in self.unknown_characters.most_common()]
            lines.append(
                f"{split}: {counted(sum(self.unknown_characters.values()), 'character')} outside the "
                f"vocabulary: {listing(counts)}"
            )
        return lines


def filter_transcribed(
    cuts: Any,
    spell: Callable[[Sequence[str]], Sequence[Sequence[str]]],
    vocabulary: dict[str, int],
    limits: Limits,
    where: str = "",
) -> FilterResult:
    """Filter by the units of the transcripts, and count characters outside the vocabulary.

    `spell` normalises transcripts and splits them into units.
    """
    counts = [count_labels(spell(batch), vocabulary) for batch in texts(cuts)]
    labels = np.concatenate([one.labels for one in counts]) if counts else np.zeros(0, np.int64)
    frames = np.concatenate([one.frames for one in counts]) if counts else np.zeros(0, np.int64)
    result = _filtered(cuts, labels, frames, limits, where)
    unknown = Counter[str]()
    if any(one.unknown for one in counts):
        for batch in texts(result.cuts):
            unknown += count_labels(spell(batch), vocabulary).unknown
    return replace(result, unknown_characters=unknown)


def filter_utterances(
    cuts: Any,
    labels_of: Callable[[Cut], list[int]],
    limits: Limits,
    where: str = "",
) -> FilterResult:
    """Filter out utterances that are too long, too short, or have more labels than frames.

    Raises `AsrLabError` if none is left.
    """
    counts = [(len(labels), frames_needed(labels)) for labels in map(labels_of, cuts)]
    labels, frames = np.array(counts, dtype=np.int64).reshape(-1, 2).T
    return _filtered(cuts, labels, frames, limits, where)


def _filtered(
    cuts: Any,
    labels: npt.NDArray[np.int64],
    frames: npt.NDArray[np.int64],
    limits: Limits,
    where: str,
) -> FilterResult:
    """Filter by the number of labels and the fewest frames for them (N,)."""
    duration_s = durations(cuts)
    distinct, place = np.unique(duration_s, return_inverse=True)
    has = np.array([limits.output_frames(num_samples(one)) for one in distinct.tolist()], dtype=np.int64)[place]
    reasons = {
        "no_text": labels == 0,
        "too_long": duration_s > limits.max_duration_s,
        "too_short": duration_s < limits.min_duration_s,
        "more_labels_than_frames": frames > has,
    }
    left, found = np.ones(len(duration_s), dtype=bool), dict[str, Any]()
    for reason, mask in reasons.items():
        found[reason] = ids(cuts).take(np.flatnonzero(mask & left)).to_pylist() if (mask & left).any() else []
        left &= ~mask
    result = FilterResult(cuts if left.all() else take(cuts, np.flatnonzero(left)), **found)
    if not left.any():
        raise AsrLabError("no utterance is usable for training: " + "; ".join(result.warnings("all")), where=where)
    return result
