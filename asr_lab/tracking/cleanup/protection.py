"""Runs that no cleanup deletes: registered, pinned, archived or running ones, and those that they need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME

from asr_lab.system import processes
from asr_lab.tracking.clock import store_now_ms
from asr_lab.tracking.run_index import Record, Registrations
from asr_lab.tracking.store import tracking_uri
from asr_lab.tracking.tags import ARCHIVED, KEEP, PROCESS, RESTORING

STALE_HOURS = 24
"""A run of another machine without new metrics for so long counts as stale."""


def is_abandoned(one: Record) -> bool:
    """Return whether the process that recorded or restored the run was on this machine and is gone."""
    mark = one.tags.get(RESTORING) or one.tags.get(PROCESS, "")
    if not mark and one.running and not one.family:  # of an `mlflow run` that ended before its command marked it
        is_here = tracking_uri().startswith("sqlite") and _is_of_project(one.tags.get(MLFLOW_SOURCE_NAME, ""))
        return is_here and not processes.is_served(one.run_id)
    return processes.is_gone(mark)


def _is_of_project(source: str) -> bool:
    """Return whether a run's source is a folder of this machine with the MLproject of asr_lab."""
    folder, _, subfolder = source.removeprefix("file://").partition("#")
    file = Path(folder, subfolder.lstrip("/"), "MLproject")
    try:
        return bool(re.search(r"^name:\s*asr_lab\s*$", file.read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, ValueError):
        return False


def is_stale(one: Record) -> bool:
    """Return whether a run is RUNNING in name only: its process is gone, or without metrics for a day elsewhere."""
    if not one.running:
        return False
    if RESTORING in one.tags or processes.is_in_sight(one.tags.get(PROCESS, "")):
        return is_abandoned(one)
    return is_abandoned(one) or one.last_sign < store_now_ms() - STALE_HOURS * 3_600_000


def protected(
    records: Sequence[Record], held: Registrations, selected: set[str], best: dict[str, str], *, stale_too: bool
) -> dict[str, str]:
    """Return run id -> why a selected run must stay: it is protected, or needed by a run that stays."""
    by_id = {one.run_id: one for one in records}
    stays: dict[str, str] = {}
    for one in records:
        if why := own_protection(one, held, stale_too=stale_too):
            stays[one.run_id] = why
        elif one.parent in by_id and (parents := own_protection(by_id[one.parent], held, stale_too=True)):
            stays[one.run_id] = f"child of {by_id[one.parent].name}, which is {parents}"
        elif one.run_id in best:
            stays[one.run_id] = best[one.run_id]
    return stays | _needed_by_others(records, selected, stays)


def own_protection(one: Record, held: Registrations, *, stale_too: bool) -> str:
    """Return why a run itself is protected, or ""; with `stale_too`, stale runs are not."""
    if name := held.of(one.run_id, *one.models):
        return f"registered as {name}"
    if KEEP in one.tags:
        return "kept"
    if ARCHIVED in one.tags and not one.purge_begun:  # of archive --purge; the bundle stays
        return "archived"
    if RESTORING in one.tags and not is_abandoned(one):
        return "being restored"
    if RESTORING in one.tags and not stale_too:
        return "half restored (asr-lab restore BUNDLE finishes it, --stale-running takes it)"
    if one.running and not one.deleted and not is_stale(one):
        return "running"
    if one.running and not one.deleted and not stale_too:
        return "running in name only (--stale-running takes it)"
    return ""


def _needed_by_others(records: Sequence[Record], selected: set[str], stays: dict[str, str]) -> dict[str, str]:
    """Return the parents and bases of runs that stay, recursively, and why they stay."""
    maker = {model: one.run_id for one in records for model in one.models}
    by_id = {one.run_id: one for one in records}
    more: dict[str, str] = {}
    waiting = [one for one in records if not one.deleted and (one.run_id not in selected or one.run_id in stays)]
    while waiting:
        one = waiting.pop()
        for id, what in [(one.parent, "parent"), *((maker.get(need, need), "base") for need in one.needs)]:
            if id in by_id and id in selected and id not in stays and id not in more:
                more[id] = f"{what} of {one.name}, which stays"
                waiting.append(by_id[id])
    return more
