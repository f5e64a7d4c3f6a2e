"""Which runs are the best of their family on their data, and which cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence

from asr_lab.errors import AsrLabError, nearest
from asr_lab.families import deciding
from asr_lab.metrics.catalog import METRICS, direction
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.tags import DATA, KIND

_TRIALS = ("trial", "seed")


def rank_best(records: Sequence[Record], number: int, metric: str = "") -> dict[str, str]:
    """Run id -> why it stays: it is among the best `number` of its family and data, or has nothing to be judged by.

    Only finished runs are judged, by `metric`, else by what decides for their family; of a sweep the whole, which has
    the figures of its best trial, and no trial. Raises `AsrLabError` when no run
    can be judged.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    stays: dict[str, str] = {}
    for one in records:
        if one.status != "FINISHED" or one.deleted or one.tags.get(KIND) in _TRIALS:
            continue
        by = metric or deciding(one.family, one.metrics) or deciding(one.family)
        if by not in one.metrics:
            stays[one.run_id] = f"not judged: it has no {by}" if by else "not judged: nothing decides for its family"
        elif one.metrics[by] == one.metrics[by]:
            data = one.tags.get(DATA + by.split("/")[0], "")
            groups.setdefault((one.family, by, data), []).append(one)
    if not groups:
        raise _nothing_to_rank(metric)
    for (_, by, _), group in groups.items():
        stays |= _best(group, number, by)
    return stays


def _best(group: list[Record], number: int, metric: str) -> dict[str, str]:
    side = direction(metric)
    if side == "neither":
        raise AsrLabError(f"{metric} has no better side", allowed="such as val/wer or test/wer")
    ranked = sorted(group, key=lambda one: one.metrics[metric], reverse=side == "higher")
    best = enumerate(ranked[:number], 1)
    return {one.run_id: f"number {place} of {len(group)} by {metric} on its data" for place, one in best}


def _nothing_to_rank(metric: str) -> AsrLabError:
    near = nearest(metric, METRICS) if metric else ""
    return AsrLabError(
        f"no finished run has {metric or 'a metric that decides for its family'}, so none can be called the best",
        allowed=f"a metric that the runs have{f', such as {near}' if near else ''}",
        next_command="asr-lab list",
    )
