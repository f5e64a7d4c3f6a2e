"""The best runs of each family on the same data, which `cleanup --keep-best` spares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asr_lab.errors import AsrLabError, nearest
from asr_lab.families import deciding
from asr_lab.metrics.catalog import METRICS, direction
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.tags import DATA, KIND

_TRIALS = ("trial", "seed")


def rank_best(records: Sequence[Record], number: int, metric: str = "") -> dict[str, str]:
    """Return run id -> why it stays: among the best `number` of its family and data, or without the metric.

    Finished runs are ranked by `metric`, or by the family's deciding metric; a sweep by its best trial, which
    stays with it if it has weights, and its trials not at all. Raises `AsrLabError` if no run can be ranked.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    stays: dict[str, str] = {}
    for one in records:
        if one.status != "FINISHED" or one.deleted or one.tags.get(KIND) in _TRIALS:
            continue
        by = metric or deciding(one.family, one.metrics) or deciding(one.family)
        if by not in one.metrics:
            stays[one.run_id] = f"not ranked: it has no {by}" if by else "not ranked: its family has no deciding metric"
        elif math.isfinite(one.metrics[by]):
            data = one.tags.get(DATA + by.split("/")[0], "")
            groups.setdefault((one.family, by, data), []).append(one)
    if not groups:
        raise _nothing_to_rank(metric)
    for (_, by, _), group in groups.items():
        best = _best(group, number, by)
        stays |= best | _best_trials(records, {one.run_id: one for one in group if one.run_id in best}, by)
    return stays


def _best_trials(records: Sequence[Record], staying: dict[str, Record], metric: str) -> dict[str, str]:
    """Return the best trial that has weights of each sweep that stays, which itself has the figures alone."""
    stays: dict[str, str] = {}
    sign = -1 if direction(metric) == "higher" else 1
    for sweep in (one for one in staying.values() if one.tags.get(KIND) == "sweep"):
        trials = [one for one in records if one.parent == sweep.run_id and one.models]
        ranked = [one for one in trials if math.isfinite(one.metrics.get(metric, math.nan))]
        if ranked:
            best = min(ranked, key=lambda one: sign * one.metrics[metric])
            stays[best.run_id] = f"best trial of {sweep.name}, which stays"
    return stays


def _best(group: list[Record], number: int, metric: str) -> dict[str, str]:
    side = direction(metric)
    if side == "neither":
        raise AsrLabError(f"metric {metric} has no known direction", allowed="such as val/wer or test/wer")
    ranked = sorted(group, key=lambda one: one.metrics[metric], reverse=side == "higher")
    best = enumerate(ranked[:number], 1)
    return {one.run_id: f"number {place} of {len(group)} by {metric} on its data" for place, one in best}


def _nothing_to_rank(metric: str) -> AsrLabError:
    near = nearest(metric, METRICS) if metric else ""
    return AsrLabError(
        f"no finished run has {metric or 'a metric that decides for its family'}, so none can be ranked",
        allowed=f"a metric that the runs have{f', such as {near}' if near else ''}",
        next_command="asr-lab list",
    )
