"""Plan a cleanup: select runs by age, state, name and rank; never registered, pinned, archived or running ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlflow import MlflowClient

from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.tracking.cleanup.keep_best import rank_best
from asr_lab.tracking.cleanup.protection import is_abandoned, is_stale, protected
from asr_lab.tracking.clock import store_now_ms
from asr_lab.tracking.queries.filters import is_like
from asr_lab.tracking.run_index import Record, read_registrations, scan
from asr_lab.units import age

Action = Literal["delete", "purge", "checkpoints"]
_DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Conditions, all of which must hold; `failed` and `stale_running` are alternatives."""

    pattern: str = ""
    """Glob or part of a run's name, model type or family; case-insensitive."""
    family: str = ""
    days_old: float | None = None
    failed: bool = False
    stale_running: bool = False
    keep_best: int = 0
    """Number of best runs of each family and data that stay."""
    metric: str = ""
    """Ranks the runs for `keep_best`; "": the family's deciding metric."""
    deleted: bool = False
    """Also soft-deleted runs (for a purge)."""

    @property
    def is_empty(self) -> bool:
        return self == Selection(metric=self.metric)


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan: whether it is deleted, and why."""

    record: Record
    goes: bool
    why: str
    size: int | None = None
    """Bytes that would be freed; None if not measured."""


@dataclass(frozen=True)
class CleanupPlan:
    """The selected runs, and what happens to them."""

    action: Action
    lines: list[PlannedRun]

    @property
    def going(self) -> list[PlannedRun]:
        return [line for line in self.lines if line.goes]

    @property
    def size(self) -> int | None:
        """Bytes that would be freed; None if not all are measured."""
        sizes = [line.size for line in self.going]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def staying(self) -> list[PlannedRun]:
        return [line for line in self.lines if not line.goes]


def plan(client: MlflowClient, selection: Selection, action: Action, *, erases_rows: bool = True) -> CleanupPlan:
    """Make a plan; changes nothing. Raises `AsrLabError` if there are no conditions, or no run matches.

    Interrupted purges are included in any purge, except, where rows cannot be erased, of deleted runs.
    """
    records = scan(client, metric=selection.metric, deleted=action == "purge")
    begun = [one for one in records if action == "purge" and one.purge_begun and (erases_rows or not one.deleted)]
    if selection.is_empty and not begun:
        raise AsrLabError(
            "no condition selects runs",
            allowed="--days-old, --keep-best, --pattern, --family, --failed, --stale-running, --deleted",
            next_command="asr-lab cleanup --days-old 30 --keep-best 3 --dry-run",
        )
    asked = [] if selection.is_empty else _asked(records, selection)
    reasons = {one.run_id: "its purge was begun before" for one in begun} | {
        one.run_id: _reason(one, selection) for one in asked
    }
    matches = [one for one in records if _matches(one, selection.pattern)]
    best = rank_best(matches, selection.keep_best, selection.metric) if selection.keep_best else {}
    protection = protected(records, read_registrations(client), set(reasons), best, stale_too=selection.stale_running)
    lines = [
        PlannedRun(one, one.run_id not in protection, protection.get(one.run_id) or reasons[one.run_id])
        for one in records
        if one.run_id in reasons
    ]
    return CleanupPlan(action, lines)


def _asked(records: Sequence[Record], selection: Selection) -> list[Record]:
    matches = [one for one in records if _matches(one, selection.pattern)]
    scope = [one for one in matches if selection.deleted or not one.deleted]
    if not scope and selection.pattern:
        raise _no_match(selection.pattern, records, deleted=bool(matches))
    if selection.family:
        known = sorted({one.family for one in records if one.family})
        if selection.family not in known:
            raise AsrLabError(f"no run has the family {selection.family!r}", allowed=listing(known) or "none yet")
        scope = [one for one in scope if one.family == selection.family]
    if selection.days_old is not None:
        oldest = store_now_ms() - selection.days_old * _DAY_MS
        scope = [one for one in scope if one.since <= oldest]
    if selection.failed or selection.stale_running:
        return [one for one in scope if _in_state(one, selection)]
    return scope


def _no_match(pattern: str, records: Sequence[Record], *, deleted: bool) -> AsrLabError:
    if deleted:
        return AsrLabError(f"only deleted runs match {pattern!r}", hint="--deleted --purge erases them")
    near = nearest(pattern, [one.name for one in records])
    return AsrLabError(
        f"no run matches {pattern!r}" + (f"; did you mean {near!r}?" if near else ""),
        allowed=listing((one.name for one in records), 8) or "there are no runs yet",
        next_command="asr-lab list",
    )


def _in_state(one: Record, selection: Selection) -> bool:
    if selection.failed and one.status in ("FAILED", "KILLED"):
        return True
    return selection.stale_running and (is_stale(one) or one.deleting_begun)


def _matches(one: Record, pattern: str) -> bool:
    return is_like(pattern, one.name, one.model_type, one.family)


def _reason(one: Record, selection: Selection) -> str:
    reasons = []
    if one.deleted:
        reasons.append("deleted before")
    if one.deleting_begun:
        reasons.append("its deletion was begun before")
    elif one.running:
        silent = f"no sign of life for {age((store_now_ms() - one.last_sign) / 1000)}"
        reasons.append("its process is gone" if is_abandoned(one) else silent)
    elif one.status in ("FAILED", "KILLED"):
        reasons.append(one.status.lower())
    if selection.days_old is not None:
        reasons.append(f"older than {selection.days_old:g} days")
    if selection.keep_best:
        reasons.append(f"not among the best {selection.keep_best}")
    if selection.pattern:
        reasons.append(f"like {selection.pattern}")
    return ", ".join(reasons) or f"of family {one.family}"


def with_sizes(planned: CleanupPlan, sizes: Iterable[int | None]) -> CleanupPlan:
    """Return the plan with the bytes of each run to delete, in their order."""
    remaining = iter(sizes)
    lines = [replace(one, size=next(remaining)) if one.goes else one for one in planned.lines]
    return CleanupPlan(planned.action, lines)
