"""Active selection: of audio that was not learned from, what a model finds hardest.

The worst by error rate where there are transcripts, by confidence where there are none (uncertainty sampling, Lewis and
Gale 1994), with a cap on what one speaker may fill, for the worst speakers would fill all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.errors import AsrLabError

_ROUNDING = 1e-6  # s


@dataclass(frozen=True)
class Budget:
    """How much is taken; raises `AsrLabError` for shares that are none."""

    share: float = 0.1
    """Of the duration of what can be chosen."""
    speaker_share: float = 0.2
    """Of the chosen duration, the most that one speaker may fill; 1: no cap."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 < self.speaker_share <= 1:
            raise AsrLabError(f"shares of {self.share:g} and {self.speaker_share:g}", allowed="above 0, at most 1")


def exclude_used(cuts: CutSet, used: Sequence[CutSet]) -> CutSet:
    """The utterances that are in none of the others; raises `AsrLabError` when none is left."""
    known = {cut.id for others in used for cut in others}
    left = CutSet.from_cuts(cut for cut in cuts if cut.id not in known)
    if not len(left):
        raise AsrLabError("every utterance was used already", allowed="a manifest with other utterances")
    return left


def select_hardest(cuts: CutSet, difficulty: Mapping[str, float], budget: Budget) -> CutSet:
    """The most difficult utterances within the budget, the hardest first; of equals, by id.

    An utterance that would go beyond the budget, or its speaker's part of it, is passed over for the next. At least
    one is taken.
    """
    seconds = _asked(cuts, budget)
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
    """How much less than asked for was `chosen` of the utterances because of the cap on a speaker, for people.

    "" where nothing that would have fitted the budget was passed over.
    """
    asked, taken = _asked(cuts, budget), sum(cut.duration for cut in chosen)
    known = {cut.id for cut in chosen}
    if not any(cut.id not in known and taken + cut.duration <= asked + _ROUNDING for cut in cuts):
        return ""
    return (
        f"{taken:.1f} s of the {asked:.1f} s asked for: the cap of {budget.speaker_share:.0%} a speaker left out others"
    )


def _asked(cuts: CutSet, budget: Budget) -> float:
    return float(budget.share * sum(cut.duration for cut in cuts))
