"""Which runs can go: chosen by age, state, name and merit; never what is registered, kept, archived or running."""

from __future__ import annotations

import fnmatch
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlflow import MlflowClient

from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.metrics.catalog import DECIDES, METRICS, direction
from asr_lab.tracking import provenance
from asr_lab.tracking.housekeeping.records import ARCHIVED, KEEP, Record, Registered, registered, scan

Action = Literal["delete", "purge", "checkpoints"]
STALE_HOURS = 24
"""A run of another machine that gave no sign of life for so long counts as stale."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What may go: all that is set must hold; `failed` and `stale_running` are alternatives to each other."""

    pattern: str = ""
    """Glob or plain part of a run's name, model type or family, case-blind."""
    family: str = ""
    days_old: float | None = None
    failed: bool = False
    stale_running: bool = False
    keep_best: int = 0
    """The best so many of each family and data stay."""
    metric: str = ""
    """By which `keep_best` judges; "": the one that decides for the family."""
    deleted: bool = False
    """Also what was softly deleted before (for a purge)."""

    @property
    def is_empty(self) -> bool:
        return self == Selection(metric=self.metric)


@dataclass(frozen=True)
class Line:
    """One run of a plan, and why it goes or stays."""

    record: Record
    goes: bool
    why: str
    size: int | None = None
    """Bytes that would be free; None where not measured."""


@dataclass(frozen=True)
class Plan:
    """What would be done. Runs that were not asked for are not in it."""

    action: Action
    lines: list[Line]

    @property
    def going(self) -> list[Line]:
        return [line for line in self.lines if line.goes]

    @property
    def staying(self) -> list[Line]:
        return [line for line in self.lines if not line.goes]


def plan(client: MlflowClient, selection: Selection, action: Action, *, erases_rows: bool = True) -> Plan:
    """Read everything, change nothing. Raises `AsrLabError` when nothing is asked for, or nothing is like it.

    A purge that was cut off is finished with any other. Where rows cannot be erased, a deleted run is all that is
    left of one that was not cut off.
    """
    records = scan(client, metric=selection.metric, deleted=action == "purge")
    begun = [one for one in records if action == "purge" and one.purge_begun and (erases_rows or not one.deleted)]
    if selection.is_empty and not begun:
        raise AsrLabError(
            "nothing says what should go",
            allowed="--days-old, --keep-best, --pattern, --family, --failed, --stale-running, --deleted",
            next_command="asr-lab cleanup --days-old 30 --keep-best 3 --dry-run",
        )
    asked = [] if selection.is_empty else _asked(records, selection)
    reasons = {one.run_id: "its purge was begun before" for one in begun} | {
        one.run_id: _reason(one, selection) for one in asked
    }
    best = _best(records, selection)
    protection = protected(records, registered(client), set(reasons), best, stale_too=selection.stale_running)
    lines = [
        Line(one, one.run_id not in protection, protection.get(one.run_id) or reasons[one.run_id])
        for one in records
        if one.run_id in reasons
    ]
    return Plan(action, lines)


def _asked(records: Sequence[Record], selection: Selection) -> list[Record]:
    alike = [one for one in records if _is_like(one, selection.pattern)]
    scope = [one for one in alike if selection.deleted or not one.deleted]
    if not scope and selection.pattern:
        raise _no_hit(selection.pattern, records, deleted=bool(alike))
    if selection.family:
        known = sorted({one.family for one in records if one.family})
        if selection.family not in known:
            raise AsrLabError(f"no run is of the family {selection.family!r}", allowed=listing(known) or "none yet")
        scope = [one for one in scope if one.family == selection.family]
    if selection.days_old is not None:
        oldest = now_ms() - selection.days_old * _DAY_MS
        scope = [one for one in scope if one.since <= oldest]
    if selection.failed or selection.stale_running:
        return [one for one in scope if _in_state(one, selection)]
    return scope


def _no_hit(pattern: str, records: Sequence[Record], *, deleted: bool) -> AsrLabError:
    if deleted:
        return AsrLabError(f"only deleted runs are like {pattern!r}", hint="--deleted --purge erases them")
    near = nearest(pattern, [one.name for one in records])
    return AsrLabError(
        f"no run is like {pattern!r}" + (f"; did you mean {near!r}?" if near else ""),
        allowed=listing((one.name for one in records), 8) or "there are no runs yet",
        next_command="asr-lab list",
    )


def _in_state(one: Record, selection: Selection) -> bool:
    if selection.failed and one.status in ("FAILED", "KILLED"):
        return True
    return selection.stale_running and is_stale(one)


def _is_like(one: Record, pattern: str) -> bool:
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    return any(fnmatch.fnmatchcase(text.lower(), glob) for text in (one.name, one.model_type, one.family))


def _reason(one: Record, selection: Selection) -> str:
    reasons = []
    if one.deleted:
        reasons.append("deleted before")
    if one.running:
        reasons.append("its process is gone" if _is_gone(one) else f"no sign of life for {age(one.last_sign)}")
    elif one.status in ("FAILED", "KILLED"):
        reasons.append(one.status.lower())
    if selection.days_old is not None:
        reasons.append(f"older than {selection.days_old:g} days")
    if selection.keep_best:
        reasons.append(f"not among the best {selection.keep_best}")
    if selection.pattern:
        reasons.append(f"like {selection.pattern}")
    return ", ".join(reasons) or f"of family {one.family}"


def now_ms() -> int:
    """Now, in milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


def age(since_ms: int) -> str:
    """`45 min`, `3 h`, `12 d`: how long ago a time was."""
    minutes = max(0, now_ms() - since_ms) / 60_000
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} d"


def _is_gone(one: Record) -> bool:
    return provenance.is_gone(one.tags.get("asr_lab.process", ""))


def is_stale(one: Record) -> bool:
    """Whether a run is RUNNING in name only: its process is gone, or on another machine silent for a day."""
    if not one.running:
        return False
    if one.tags.get("asr_lab.process", "").split("|")[0] == socket.gethostname():
        return _is_gone(one)
    return one.last_sign < now_ms() - STALE_HOURS * 3_600_000


def _best(records: Sequence[Record], selection: Selection) -> dict[str, str]:
    """Run id -> why it is among the best; judged among finished runs of one family on the same data."""
    if not selection.keep_best:
        return {}
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for one in records:
        metric = selection.metric or DECIDES.get(one.family, "")
        in_scope = one.status == "FINISHED" and not one.deleted and _is_like(one, selection.pattern)
        if in_scope and metric in one.metrics and one.metrics[metric] == one.metrics[metric]:
            data = one.tags.get(f"asr_lab.data.{metric.split('/')[0]}", "")
            groups.setdefault((one.family, metric, data), []).append(one)
    if not groups:
        metric = selection.metric or "a metric that decides for its family"
        near = nearest(selection.metric, METRICS) if selection.metric else ""
        raise AsrLabError(
            f"no finished run has {metric}, so none can be called the best",
            allowed=f"a metric that the runs have{f', such as {near}' if near else ''}",
            next_command="asr-lab list",
        )
    best: dict[str, str] = {}
    for (_, metric, _), group in groups.items():
        side = direction(metric)
        if side == "neither":
            raise AsrLabError(f"{metric} has no better side", allowed="such as val/wer or test/wer")
        group.sort(key=lambda one: one.metrics[metric], reverse=side == "higher")
        for place, one in enumerate(group[: selection.keep_best], 1):
            best[one.run_id] = f"number {place} of {len(group)} by {metric} on its data"
    return best


def protected(
    records: Sequence[Record], held: Registered, asked: set[str], best: dict[str, str], *, stale_too: bool
) -> dict[str, str]:
    """Run id -> why it must stay although asked for: for its own sake, or because what stays hangs on it."""
    by_id = {one.run_id: one for one in records}
    stays: dict[str, str] = {}
    for one in records:
        if why := own_protection(one, held, stale_too=stale_too):
            stays[one.run_id] = why
        elif one.parent in by_id and (parents := own_protection(by_id[one.parent], held, stale_too=True)):
            stays[one.run_id] = f"child of {by_id[one.parent].name}, which is {parents}"
        elif one.run_id in best:
            stays[one.run_id] = best[one.run_id]
    return stays | _hung_on(records, asked, stays)


def own_protection(one: Record, held: Registered, *, stale_too: bool) -> str:
    """Why a run must stay for its own sake, "" when it need not; `stale_too`: RUNNING in name only is none."""
    if name := held.of(one):
        return f"registered as {name}"
    if KEEP in one.tags:
        return "kept"
    if ARCHIVED in one.tags:
        return "archived"
    if one.running and not one.deleted and not is_stale(one):
        return "running"
    if one.running and not one.deleted and not stale_too:
        return "running in name only (--stale-running takes it)"
    return ""


def _hung_on(records: Sequence[Record], asked: set[str], stays: dict[str, str]) -> dict[str, str]:
    """Parents and bases of runs that stay, of their parents and bases, and so on."""
    maker = {model: one.run_id for one in records for model in one.models}
    by_id = {one.run_id: one for one in records}
    more: dict[str, str] = {}
    waiting = [one for one in records if not one.deleted and (one.run_id not in asked or one.run_id in stays)]
    while waiting:
        one = waiting.pop()
        for id, what in [(one.parent, "parent"), *((maker.get(need, need), "base") for need in one.needs)]:
            if id in by_id and id in asked and id not in stays and id not in more:
                more[id] = f"{what} of {one.name}, which stays"
                waiting.append(by_id[id])
    return more


def with_sizes(planned: Plan, sizes: Iterable[int | None]) -> Plan:
    """The plan with the bytes of each line that goes, in their order."""
    found = iter(sizes)
    return Plan(planned.action, [replace(one, size=next(found)) if one.goes else one for one in planned.lines])
