"""Leakage between splits: the same speakers, or worse, the same utterances, in training and test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.errors import listing

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
    def of(cls, splits: Mapping[str, CutSet]) -> Leakage:
        """Compare the manifests of splits, by name (`train`, `val`, `test`, ...)."""
        pairs = [(one, other) for one, other in combinations(splits, 2) if one in _LEARNING]
        utterances = {f"{one} and {other}": same_utterances(splits[one], splits[other]) for one, other in pairs}
        speakers = {name: {str(manifest.field(cut, "speaker") or "") for cut in own} for name, own in splits.items()}
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


def shared_values(values: Mapping[str, Set[str]], pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return `train and val` -> the sorted values in both, for the pairs with any."""
    shared = {f"{one} and {other}": sorted(values[one] & values[other]) for one, other in pairs}
    return {pair: common for pair, common in shared.items() if common}


def same_utterances(one: CutSet, other: CutSet) -> list[str]:
    """Return the ids in `one` of utterances also in `other`: equal audio, or equal id, speaker and text."""
    known = {key for cut in other for key in _identities(cut)}
    return sorted(cut.id for cut in one if not known.isdisjoint(_identities(cut)))


def _identities(cut: Cut) -> Iterator[tuple[str, ...]]:
    """Yield the keys that identify an utterance in any manifest: id, speaker and text; its segment of a recording."""
    segment = manifest.supervision(cut)
    yield cut.id, str(segment.speaker), segment.text or ""
    times = (f"{cut.start:.4f}", f"{cut.duration:.4f}", str(cut.channel))
    if digest := manifest.field(cut, "audio_digest"):
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


def scan(path: Path, cuts: CutSet) -> Scan:
    """Look for utterances in a manifest, which is read once, row by row, and not built as cuts.

    Raises `AsrLabError` if it cannot be read.
    """
    ids_of: dict[tuple[str, ...], set[str]] = {}
    for cut in cuts:
        for key in _identities(cut):
            ids_of.setdefault(key, set()).add(cut.id)
    wanted = {str(manifest.field(cut, "speaker") or "") for cut in cuts} - {""}
    utterances, speakers = set[str](), set[str]()

    def look(row: Mapping[str, Any]) -> None:
        segment, start, duration = row["supervisions"][0], row["start"], row["duration"]
        speakers.update(wanted & {segment.get("speaker") or ""})
        times = (f"{start:.4f}", f"{duration:.4f}", str(row["channel"]))
        keys: list[tuple[str, ...]] = [(row["id"], str(segment.get("speaker")), segment.get("text") or "")]
        if digest := (segment.get("custom") or {}).get("audio_digest"):
            keys.append(("digest", str(digest), *times))
        sources = (row.get("recording") or {}).get("sources", [])
        keys += [("file", os.path.normpath(source["source"]), *times) for source in sources]
        for key in keys:
            utterances.update(ids_of.get(key, ()))

    digest = manifest.digest_rows(path, look)
    return Scan(digest, frozenset(utterances), frozenset(speakers))
