"""Training speakers of runs, as far as their manifests are on this machine and unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asr_lab.data import columns
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.tags import DATA

_DIGEST = DATA + "train"
_GONE, _CHANGED = "is not on this machine", "differs from the training data: it has changed, or only a part was used"


@dataclass(frozen=True)
class TrainingSpeakers:
    """Training speakers by run, and runs without known ones."""

    speakers: dict[str, set[str]] = field(default_factory=dict)
    """Run id -> training speakers."""
    doubtful: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    """(manifest, why it is not used) -> runs trained on it."""

    def of(self, run: Record) -> set[str]:
        """Return the training speakers of a run; empty if unknown."""
        return self.speakers.get(run.run_id, set())

    def doubts(self, excluded: set[str]) -> list[str]:
        """Return a sentence for each unusable manifest, unless all of its runs are `excluded`."""
        result = []
        for (path, why), runs in self.doubtful.items():
            names = [run.name for run in runs if run.run_id not in excluded]
            if names:
                result.append(f"{path} {why}; the training speakers of {listing(names, 3)} are not known")
        return result


def read_training_speakers(records: Iterable[Record]) -> TrainingSpeakers:
    """Read the training speakers of runs; a manifest is used only if its digest is the logged one."""
    result = TrainingSpeakers()
    by_path: dict[str, list[Record]] = {}
    for run in records:
        if run.trained_on:
            by_path.setdefault(run.trained_on, []).append(run)
    for path, runs in by_path.items():
        there = Path(path).is_file()
        digest, speakers = _digest_and_speakers(path) if there else ("", set())
        for run in runs:
            if digest and run.tags.get(_DIGEST) == digest:
                result.speakers[run.run_id] = speakers
            else:
                result.doubtful.setdefault((path, _CHANGED if there else _GONE), []).append(run)
    return result


def _digest_and_speakers(path: str) -> tuple[str, set[str]]:
    """Return the digest and the speakers of a manifest; "" and none if it cannot be read."""
    try:
        rows = Utterances.read(path)
        return rows.digest(), set(map(str, columns.factor(rows, "speaker").values))
    except (AsrLabError, OSError):
        return "", set()
