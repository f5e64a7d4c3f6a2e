"""What splits share that should share nothing: speakers, and worse, the same utterances."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import combinations

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.errors import listing

_LEARNING = ("train", "val")
"""Splits that a model is made by; it is tested on all others."""


@dataclass(frozen=True)
class Leakage:
    """What a training and its tests share, by pair of splits (`train and test`); two tests may share what they like."""

    utterances: Mapping[str, list[str]] = field(default_factory=dict)
    """Ids, as the first of the two has them, of what is the same in both."""
    speakers: Mapping[str, list[str]] = field(default_factory=dict)
    """Names; empty where all splits are of the same one speaker, which is meant."""

    @classmethod
    def of(cls, splits: Mapping[str, CutSet]) -> Leakage:
        """Of manifests by the names of their splits (`train`, `val`, `test`, ...)."""
        pairs = [(one, other) for one, other in combinations(splits, 2) if one in _LEARNING]
        utterances = {f"{one} and {other}": same_utterances(splits[one], splits[other]) for one, other in pairs}
        speakers = {name: {str(manifest.field(cut, "speaker") or "") for cut in own} for name, own in splits.items()}
        alone = len(set().union(*speakers.values())) == 1
        return cls(
            {pair: ids for pair, ids in utterances.items() if ids},
            {} if alone else shared_values({name: own - {""} for name, own in speakers.items()}, pairs),
        )

    def warnings(self) -> list[str]:
        """A line on utterances and one on speakers, with their names."""
        return self._lines(lambda names: f"{len(names)} ({listing(names, 3)})")

    def notes(self) -> list[str]:
        """The same in numbers alone: a run's description stays when a person in it is forgotten."""
        return self._lines(lambda names: str(len(names)))

    def _lines(self, told: Callable[[list[str]], str]) -> list[str]:
        kinds = (
            ("utterances, so figures are better than of new speech", self.utterances),
            ("speakers, so figures may be better than of new voices", self.speakers),
        )
        return [
            f"the splits share {what}: {', '.join(f'{pair} {told(names)}' for pair, names in shared.items())}"
            for what, shared in kinds
            if shared
        ]


def shared_values(values: Mapping[str, Set[str]], pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """`train and val` -> the values that both have, in order; only of those pairs that share any."""
    shared = {f"{one} and {other}": sorted(values[one] & values[other]) for one, other in pairs}
    return {pair: found for pair, found in shared.items() if found}


def same_utterances(one: CutSet, other: CutSet) -> list[str]:
    """Ids in `one` of what is in `other` too: the same audio, whatever it is called, or id, speaker and text."""
    known = {mark for cut in other for mark in _marks(cut)}
    return sorted(cut.id for cut in one if not known.isdisjoint(_marks(cut)))


def _marks(cut: Cut) -> Iterator[tuple[str, ...]]:
    """What an utterance is known by in any manifest: who says what under which id, and its piece of a recording."""
    segment = manifest.supervision(cut)
    yield cut.id, str(segment.speaker), segment.text or ""
    piece = (f"{cut.start:.4f}", f"{cut.duration:.4f}", str(cut.channel))
    if digest := manifest.field(cut, "audio_digest"):
        yield ("digest", str(digest), *piece)
    for source in cut.recording.sources if cut.has_recording else ():
        yield ("file", os.path.normpath(source.source), *piece)
