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
class Learned:
    """What manifests say, and what they cannot."""

    people: dict[str, set[str]] = field(default_factory=dict)
    """Run id -> the speakers that it learned from."""
    doubtful: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    """(manifest, why it says nothing) -> runs that say they learned from it."""

    def of(self, run: Record) -> set[str]:
        """From whom a run learned; empty where nothing can be told."""
        return self.people.get(run.run_id, set())

    def doubts(self, but: set[str]) -> list[str]:
        """A sentence for each manifest that says nothing, unless all of its runs are among `but`."""
        found = []
        for (path, why), runs in self.doubtful.items():
            names = [run.name for run in runs if run.run_id not in but]
            if names:
                found.append(f"{path} {why}; from whom {listing(names, 3)} learned is not known")
        return found


def learned(records: Iterable[Record]) -> Learned:
    """From whom each run learned. A manifest is believed only when it has the digest that the run logged."""
    found = Learned()
    by_path: dict[str, list[Record]] = {}
    for one in records:
        if one.trained_on:
            by_path.setdefault(one.trained_on, []).append(one)
    for path, runs in by_path.items():
        there = Path(path).is_file()
        digest = _digest(path) if there else ""
        people = set(count_by_speaker(Path(path))) if digest else set()
        for one in runs:
            if digest and one.tags.get(_DIGEST) == digest:
                found.people[one.run_id] = people
            else:
                found.doubtful.setdefault((path, _CHANGED if there else _GONE), []).append(one)
    return found


def _digest(path: str) -> str:
    """The digest of a manifest; "" when it is none."""
    try:
        return manifest.digest(manifest.read(path))
    except (AsrLabError, OSError):
        return ""
