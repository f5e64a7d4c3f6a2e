"""Active selection: choose the utterances of a pool that a model finds hardest.

By error rate if there are transcripts, else by confidence (uncertainty sampling, Lewis and Gale 1994), with a cap on
the share of one speaker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from lhotse import CutSet

from asr_lab.data import columns
from asr_lab.errors import AsrLabError

_ROUNDING = 1e-6  # s


@dataclass(frozen=True)
class Budget:
    """How much to choose; raises `AsrLabError` for shares outside (0, 1]."""

    share: float = 0.1
    """Share of the duration of the candidates."""
    speaker_share: float = 0.2
    """Largest share of the budget for one speaker; 1: no cap."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 < self.speaker_share <= 1:
            raise AsrLabError(f"shares of {self.share:g} and {self.speaker_share:g}", allowed="above 0, at most 1")


def transcribed(cuts: CutSet) -> npt.NDArray[np.bool_]:
    """Return which utterances (N,) have a transcript that is not empty."""
    return np.array([bool(text.strip()) for batch in columns.texts(cuts) for text in batch], dtype=bool)


def exclude_used(cuts: CutSet, used: Sequence[CutSet]) -> CutSet:
    """Return the utterances that are in none of the `used` manifests; raises `AsrLabError` if none is left."""
    taken = pa.chunked_array([chunk for others in used for chunk in columns.ids(others).chunks], pa.string())
    is_taken = pc.is_in(columns.ids(cuts), value_set=taken.combine_chunks()).to_numpy()
    left = columns.take(cuts, np.flatnonzero(~is_taken))
    if not len(left):
        raise AsrLabError("every utterance was used already", allowed="a manifest with other utterances")
    return left


def select_hardest(cuts: CutSet, difficulty: Mapping[str, float], budget: Budget) -> CutSet:
    """Return the most difficult utterances within the budget, hardest first, ties by id; at least one.

    Utterances that would exceed the budget, or their speaker's share of it, are skipped.
    """
    seconds = _budget_s(cuts, budget)
    duration_s, of_speaker = columns.durations(cuts), speakers(cuts)
    hardest = np.array([difficulty[id] for id in columns.ids(cuts).to_pylist()])
    order = columns.by_id(cuts)
    by_speaker: defaultdict[str, float] = defaultdict(float)
    chosen: list[int] = []
    taken = 0.0
    for place in order[np.argsort(-hardest[order], kind="stable")].tolist():
        fits = taken + duration_s[place] <= seconds + _ROUNDING
        within = by_speaker[of_speaker[place]] + duration_s[place] <= budget.speaker_share * seconds + _ROUNDING
        if (fits and within) or not chosen:
            chosen.append(place)
            by_speaker[of_speaker[place]] += duration_s[place]
            taken += duration_s[place]
    return columns.take(cuts, chosen)


def speakers(cuts: CutSet) -> list[str]:
    """Return the speaker of each utterance (N,), `unknown` if there is none."""
    names: list[str] = columns.factor(cuts, "speaker").of_each(lambda name: name or "unknown").tolist()
    return names


def cap_warning(cuts: CutSet, chosen: CutSet, budget: Budget) -> str:
    """Return a warning if the cap per speaker left part of the budget unused, else ""."""
    budget_s, taken = _budget_s(cuts, budget), columns.seconds(chosen)
    others = pc.invert(pc.is_in(columns.ids(cuts), value_set=columns.ids(chosen).combine_chunks())).to_numpy()
    if not (others & (taken + columns.durations(cuts) <= budget_s + _ROUNDING)).any():
        return ""
    return (
        f"{taken:.1f} s chosen of {budget_s:.1f} s requested: the cap of {budget.speaker_share:.0%} per speaker "
        "left out others"
    )


def _budget_s(cuts: CutSet, budget: Budget) -> float:
    return budget.share * columns.seconds(cuts)
