"""Leakage between splits: the same speakers, or worse, the same utterances, in training and test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from asr_lab.data import columns
from asr_lab.data.manifest_table import table_of
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import listing

if TYPE_CHECKING:
    from lhotse.cut import Cut

_LEARNING = ("train", "val")
"""Splits used in training; all others are test sets."""


@dataclass(frozen=True)
class Leakage:
    """Utterances and speakers in two splits, by pair (`train and test`); pairs of test sets are not checked."""

    utterances: Mapping[str, list[str]] = field(default_factory=dict)
    """Ids of the common utterances, as named in the first split of the pair."""
    speakers: Mapping[str, list[str]] = field(default_factory=dict)
    """Names of the common speakers; empty if all splits are of one speaker, which is intended."""

    @classmethod
    def of(cls, splits: Mapping[str, Any]) -> Leakage:
        """Compare the manifests of splits, by name (`train`, `val`, `test`, ...)."""
        pairs = [(one, other) for one, other in combinations(splits, 2) if one in _LEARNING]
        utterances = {f"{one} and {other}": same_utterances(splits[one], splits[other]) for one, other in pairs}
        speakers = {name: _speakers(own) for name, own in splits.items()}
        alone = len(set().union(*speakers.values())) == 1
        return cls(
            {pair: ids for pair, ids in utterances.items() if ids},
            {} if alone else shared_values({name: own - {""} for name, own in speakers.items()}, pairs),
        )

    def warnings(self) -> list[str]:
        """Return a line on utterances and one on speakers, with their names."""
        return self._lines(lambda names: f"{len(names)} ({listing(names, 3)})")

    def notes(self) -> list[str]:
        """Return `warnings` without names: a run's description must not name speakers, who may be erased later."""
        return self._lines(lambda names: str(len(names)))

    def _lines(self, describe: Callable[[list[str]], str]) -> list[str]:
        kinds = (
            ("utterances, so figures are better than of new speech", self.utterances),
            ("speakers, so figures may be better than of new voices", self.speakers),
        )
        return [
            f"the splits share {what}: {', '.join(f'{pair} {describe(names)}' for pair, names in shared.items())}"
            for what, shared in kinds
            if shared
        ]


def _speakers(cuts: Any) -> set[str]:
    """Return the speakers; "" if any utterance has none."""
    speaker = columns.factor(cuts, "speaker")
    return {str(value or "") for value in speaker.values} | ({""} if (speaker.codes < 0).any() else set())


def shared_values(values: Mapping[str, Set[str]], pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return `train and val` -> the sorted values in both, for the pairs with any."""
    shared = {f"{one} and {other}": sorted(values[one] & values[other]) for one, other in pairs}
    return {pair: common for pair, common in shared.items() if common}


def same_utterances(one: Any, other: Any) -> list[str]:
    """Return the ids in `one` of utterances also in `other`: equal audio, or equal id, speaker and text."""
    maybe = np.zeros(len(one), dtype=bool), np.zeros(len(other), dtype=bool)
    for own, its in zip(columns.hashed(one), columns.hashed(other), strict=True):  # audio with audio, text with text
        common = _is_in(own, its) & (own != 0)  # 0 is none
        if common.any():
            maybe[0][common] = True
            maybe[1][_is_in(its, own[common])] = True
    known = {key for cut in columns.take(other, np.flatnonzero(maybe[1])) for key in _identities(cut)}
    candidates = columns.take(one, np.flatnonzero(maybe[0]))
    return sorted(cut.id for cut in candidates if not known.isdisjoint(_identities(cut)))


def _is_in(values: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which values are among others: by a table of hashes, which need not sort the larger as `np.isin` does."""
    found: npt.NDArray[np.bool_] = pc.is_in(pa.array(values), value_set=pa.array(others)).to_numpy(zero_copy_only=False)
    return found


def _identities(cut: Cut) -> Iterator[tuple[str, ...]]:
    """Yield the keys that identify an utterance in any manifest: id, speaker and text; its segment of a recording."""
    segment = cut.supervisions[0]
    yield cut.id, str(segment.speaker), segment.text or ""
    times = (f"{cut.start:.4f}", f"{cut.duration:.4f}", str(cut.channel))
    if digest := (segment.custom or {}).get("audio_digest"):
        yield ("digest", str(digest), *times)
    for source in cut.recording.sources if cut.has_recording else ():
        yield ("file", os.path.normpath(source.source), *times)


@dataclass(frozen=True)
class Scan:
    """What a manifest shares with some utterances."""

    digest: str
    """Digest of the manifest (`manifest.digest`)."""
    utterances: frozenset[str]
    """Ids of the utterances that are in it, by the keys of `same_utterances`."""
    speakers: frozenset[str]
    """Their speakers that are in it."""


def scan(path: Path, cuts: Any) -> Scan:
    """Look for utterances in a manifest, through its table. Raises `AsrLabError` if it cannot be read."""
    whole = Utterances(table_of(path))
    wanted = {str(value) for value in columns.factor(cuts, "speaker").values} - {""}
    speakers = wanted & set(map(str, columns.factor(whole, "speaker").values))
    return Scan(whole.digest(), frozenset(same_utterances(cuts, whole)), frozenset(speakers))
