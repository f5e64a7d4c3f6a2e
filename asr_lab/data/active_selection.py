"""Active selection: choose the utterances of a pool that a model finds hardest.

By error rate if there are transcripts, else by confidence (uncertainty sampling, Lewis and Gale 1994), with a cap on
the share of one speaker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lhotse import CutSet
from lhotse.cut import Cut

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


def is_transcribed(cut: Cut) -> bool:
    """Return whether an utterance has a transcript that is not empty."""
    return any((segment.text or "").strip() for segment in cut.supervisions)


def exclude_used(cuts: CutSet, used: Sequence[CutSet]) -> CutSet:
    """Return the utterances that are in none of the `used` manifests; raises `AsrLabError` if none is left."""
    used_ids = {id for others in used for id in columns.ids(others).to_pylist()}
    left: CutSet = columns.take(cuts, [n for n, id in enumerate(columns.ids(cuts).to_pylist()) if id not in used_ids])
    if not len(left):
        raise AsrLabError("every utterance was used already", allowed="a manifest with other utterances")
    return left


def select_hardest(cuts: CutSet, difficulty: Mapping[str, float], budget: Budget) -> CutSet:
    """Return the most difficult utterances within the budget, hardest first, ties by id; at least one.

    Utterances that would exceed the budget, or their speaker's share of it, are skipped.
    """
    seconds = _budget_s(cuts, budget)
    by_speaker: defaultdict[str, float] = defaultdict(float)
    chosen: list[Cut] = []
    taken = 0.0
    for cut in sorted(cuts, key=lambda cut: (-difficulty[cut.id], cut.id)):
        speaker = next((one.speaker for one in cut.supervisions), None) or "unknown"
        fits = taken + cut.duration <= seconds + _ROUNDING
        within = by_speaker[speaker] + cut.duration <= budget.speaker_share * seconds + _ROUNDING
        if (fits and within) or not chosen:
            chosen.append(cut)
            by_speaker[speaker] += cut.duration
            taken += cut.duration
    return CutSet.from_cuts(chosen)


def cap_warning(cuts: CutSet, chosen: CutSet, budget: Budget) -> str:
    """Return a warning if the cap per speaker left part of the budget unused, else ""."""
    budget_s, taken = _budget_s(cuts, budget), sum(cut.duration for cut in chosen)
    chosen_ids = {cut.id for cut in chosen}
    if not any(cut.id not in chosen_ids and taken + cut.duration <= budget_s + _ROUNDING for cut in cuts):
        return ""
    return (
        f"{taken:.1f} s chosen of {budget_s:.1f} s requested: the cap of {budget.speaker_share:.0%} per speaker "
        "left out others"
    )


def _budget_s(cuts: CutSet, budget: Budget) -> float:
    return float(budget.share * sum(cut.duration for cut in cuts))
