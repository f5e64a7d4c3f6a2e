"""From whom runs learned, as far as the manifests on this machine are those that they learned from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asr_lab.data import manifest
from asr_lab.data.speaker_counts import count_by_speaker
from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.tags import DATA

_DIGEST = DATA + "train"
_GONE, _CHANGED = "is not on this machine", "is not what they learned from: it has changed since, or they used a part"


@dataclass(frozen=True)
class TrainingSpeakers:
    """What manifests say, and what they cannot."""

    speakers: dict[str, set[str]] = field(default_factory=dict)
    """Run id -> the speakers that it learned from."""
    doubtful: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    """(manifest, why it says nothing) -> runs that say they learned from it."""

    def of(self, run: Record) -> set[str]:
        """From whom a run learned; empty where nothing can be told."""
        return self.speakers.get(run.run_id, set())

    def doubts(self, excluded: set[str]) -> list[str]:
        """A sentence for each manifest that says nothing, unless all of its runs are among `but`."""
        result = []
        for (path, why), runs in self.doubtful.items():
            names = [run.name for run in runs if run.run_id not in excluded]
            if names:
                result.append(f"{path} {why}; from whom {listing(names, 3)} learned is not known")
        return result


def read_training_speakers(records: Iterable[Record]) -> TrainingSpeakers:
    """From whom each run learned. A manifest is believed only when it has the digest that the run logged."""
    result = TrainingSpeakers()
    by_path: dict[str, list[Record]] = {}
    for run in records:
        if run.trained_on:
            by_path.setdefault(run.trained_on, []).append(run)
    for path, runs in by_path.items():
        there = Path(path).is_file()
        digest = _digest(path) if there else ""
        speakers = set(count_by_speaker(Path(path))) if digest else set()
        for run in runs:
            if digest and run.tags.get(_DIGEST) == digest:
                result.speakers[run.run_id] = speakers
            else:
                result.doubtful.setdefault((path, _CHANGED if there else _GONE), []).append(run)
    return result


def _digest(path: str) -> str:
    """The digest of a manifest; "" when it is none."""
    try:
        return manifest.digest(manifest.read(path))
    except (AsrLabError, OSError):
        return ""
