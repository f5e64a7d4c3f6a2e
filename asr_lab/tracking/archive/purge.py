"""`archive --purge`: erase archived runs, so that only bundles are left; a second call finishes an interrupted one."""

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
from asr_lab.tracking.queries.find import (
    AmbiguousRunError,
    Candidate,
    DeletedRunError,
    candidate_of,
    find_exact,
    find_run,
)
from asr_lab.tracking.run_index import Record, Registrations, record_of
from asr_lab.tracking.tags import ARCHIVED, PURGE_BEGUN


@dataclass
class Chosen:
    """The named runs, by the progress of an earlier call."""

    whole: list[Record] = field(default_factory=list)
    locations: dict[str, str] = field(default_factory=dict)
    """Run id -> location of its bundle."""
    begun: list[Record] = field(default_factory=list)
    """Archived, and partly erased from the store."""
    erased: dict[str, str] = field(default_factory=dict)
    """Name -> bundle of a run that is erased from the store."""


def choose(names: Iterable[str], to: str, *, purge: bool) -> Chosen:
    """Return the named runs. Raises `AsrLabError` for unknown, running and partly erased runs.

    With `purge`, these are accepted: an earlier call may have been interrupted, or complete.
    """
    chosen = Chosen()
    for name in dict.fromkeys(names):
        # the name of an erased run may be part of another run's name
        if purge and not find_exact(name) and (location := _bundle_of(name, to)):
            chosen.erased[name] = location
            continue
        match = find_run(name, deleted=True)
        run = record_of(match)
        if run.purge_begun and not (purge and ARCHIVED in run.tags):
            more = "asr-lab archive --purge" if ARCHIVED in run.tags else "asr-lab cleanup --purge"
            raise AsrLabError(f"some of {run.name} is erased already", next_command=f"{more}, which erases the rest")
        if run.deleted and not run.purge_begun:
            raise DeletedRunError(candidate_of(match))
        if run.run_id in chosen.locations:
            continue
        if run.purge_begun:
            chosen.begun.append(run)
            chosen.locations[run.run_id] = archive.parse_mark(run.tags[ARCHIVED])[0]
        else:
            archive.refuse_unfinished(match)
            chosen.whole.append(run)
            chosen.locations[run.run_id] = archive.location_of(match, to)
    return chosen


def _bundle_of(name: str, to: str) -> str:
    """Return the bundle of an erased run, by its name or id; "" if there is none, and an error if several fit."""
    fitting: dict[str, Candidate] = {}
    for location in list_files(to, bundle.SUFFIX):
        stem = PurePosixPath(location).name.removesuffix(bundle.SUFFIX)
        is_id = re.fullmatch(r"[0-9a-f]{8,32}", name)
        if archive.safe_name(name) in (stem, stem[:-9]) or (is_id and stem.endswith(f"-{name[:8]}")):
            fitting[location] = Candidate(run_id=stem[-8:], name=stem)
    if len(fitting) > 1:
        command = f"asr-lab archive {next(iter(fitting.values())).name} --out {to} --purge"
        raise AmbiguousRunError(name, list(fitting.values()), next_command=command)
    return next(iter(fitting), "")


def refuse_registered(runs: Sequence[Record], held: Registrations) -> None:
    """Raise `AsrLabError` if one of the runs is registered."""
    for run in runs:
        if name := held.of(run.run_id, *run.models):
            raise AsrLabError(f"{run.name} is registered as {name}: it cannot be erased", allowed="no --purge")


def purge(client: MlflowClient, eraser: Eraser, run: Record, location: str) -> None:
    """Erase an archived run; its mark shows that the purge has begun."""
    mark(client, run, PURGE_BEGUN, f"archived in {location}")
    eraser.erase(run)
