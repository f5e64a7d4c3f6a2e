"""`archive --purge`: runs of which only the bundles are left; what was cut off is finished by a second call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mlflow import MlflowClient

from asr_lab.errors import AsrLabError
from asr_lab.tracking.archive import archive, bundle
from asr_lab.tracking.artifacts import list_files
from asr_lab.tracking.cleanup.apply import mark
from asr_lab.tracking.cleanup.erase import Eraser
from asr_lab.tracking.queries.find import DeletedRunError, candidate_of, find_exact, find_run
from asr_lab.tracking.run_index import Record, Registrations, record_of
from asr_lab.tracking.tags import ARCHIVED, PURGE_BEGUN


@dataclass
class Chosen:
    """The runs that names mean, by how far an earlier call got with them."""

    whole: list[Record] = field(default_factory=list)
    begun: list[Record] = field(default_factory=list)
    """In their bundles; some of them is erased from the store."""
    erased: dict[str, str] = field(default_factory=dict)
    """Name that was given -> the bundle, the only thing that is left."""


def choose(names: Iterable[str], to: str, *, purge: bool) -> Chosen:
    """The runs that are meant. Raises `AsrLabError` for a name that means none, or one that is half erased.

    With `purge` that is no mistake: a call before may have been cut off, or may have done it all.
    """
    chosen = Chosen()
    for name in dict.fromkeys(names):
        # of a run that is only in its bundle now, the name may be a part of another's
        if purge and not find_exact(name) and (location := _bundle_of(name, to)):
            chosen.erased[name] = location
            continue
        found = find_run(name, deleted=True)
        run = record_of(found)
        if run.purge_begun and not (purge and ARCHIVED in run.tags):
            more = "asr-lab archive --purge" if ARCHIVED in run.tags else "asr-lab cleanup --purge"
            raise AsrLabError(f"some of {run.name} is erased already", next_command=f"{more}, which erases the rest")
        if run.deleted and not run.purge_begun:
            raise DeletedRunError(candidate_of(found))
        part = chosen.begun if run.purge_begun else chosen.whole
        if run not in part:
            part.append(run)
    return chosen


def _bundle_of(name: str, to: str) -> str:
    """The bundle of a run that the store no longer has, by the run's name or id; "" when there is none."""
    for location in list_files(to, bundle.SUFFIX):
        stem = PurePosixPath(location).name.removesuffix(bundle.SUFFIX)
        is_id = re.fullmatch(r"[0-9a-f]{8,32}", name)
        if archive.safe_name(name) in (stem, stem[:-9]) or (is_id and stem.endswith(f"-{name[:8]}")):
            return location
    return ""


def refuse_registered(runs: Sequence[Record], held: Registrations) -> None:
    """Raise `AsrLabError` when one of the runs is registered."""
    for run in runs:
        if name := held.of(run.run_id, *run.models):
            raise AsrLabError(f"{run.name} is registered as {name}: it cannot be erased", allowed="no --purge")


def purge(client: MlflowClient, eraser: Eraser, run: Record, location: str) -> None:
    """Erase a run that is in its bundle. From its mark on it is known to be half erased, and protected no more."""
    mark(client, run, PURGE_BEGUN, f"archived in {location}")
    eraser.erase(run)
