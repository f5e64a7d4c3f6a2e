"""List runs by pattern, family, filter and age.

Runs of asr_lab have the tag `asr_lab.family`, in any experiment.
"""

from __future__ import annotations

import math
import sys
from itertools import islice

from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException

from asr_lab.errors import AsrLabError
from asr_lab.metrics.catalog import BEST_STEP, figures
from asr_lab.tracking.queries import filters
from asr_lab.tracking.store import client, experiment_ids, explain_store_errors, has_tables, search_runs
from asr_lab.tracking.tags import FAMILY, MODEL_TYPE

_MOST_RUNS = 50_000
_PAGE = 1000
_FEW = 20  # smallest page
_FILTERS = "metrics.`val/wer` < 0.2, params.`train.lr` = '0.001', tags.speaker = 'john', status = 'FINISHED'"


def find(
    pattern: str = "",
    family: str = "",
    *,
    status: str = "",
    where: str = "",
    since: str = "",
    archived: bool = True,
    children: bool = True,
    limit: int = _MOST_RUNS,
) -> list[Run]:
    """Return runs of asr_lab, newest first.

    `pattern` is a glob or a plain part of the run's name, model type or family, case-blind; `where` a filter in
    MLflow's grammar, in which `val/wer` is that of the best epoch; `since` an age (`7d`) or a date. Without `archived`,
    archived runs are left out; without `children`, the trials of sweeps, folds and phases, which belong to another run.
    Raises `AsrLabError` for a filter or a time that is not understood.
    """
    by_best = filters.of_best_epoch(where)
    asked = [
        (query, None if where == by_best else one == by_best)
        for one in dict.fromkeys((where, by_best))
        for query in filters.queries(
            pattern, family, status=status, where=one, since=since, archived=archived, children=children
        )
    ]
    by_id: dict[str, Run] = {}
    if not has_tables():
        return []
    try:
        experiments = experiment_ids(client())
        for query, has_best in asked:
            hits = search_runs(client(), experiments, query, page_size=min(_PAGE, max(limit, _FEW)))
            hits = (run for run in hits if has_best in (None, BEST_STEP in run.data.metrics) and matches(run, pattern))
            by_id |= {run.info.run_id: run for run in islice(hits, limit)}
    except MlflowException as error:
        if where and error.error_code == "INVALID_PARAMETER_VALUE":
            raise _wrong_filter(where, error) from error
        with explain_store_errors("the runs cannot be listed"):
            raise
    return sorted(by_id.values(), key=lambda run: run.info.start_time or 0, reverse=True)[:limit]


def _wrong_filter(where: str, error: MlflowException) -> AsrLabError:
    return AsrLabError(
        f"the filter {where!r} is not understood: {error.message.splitlines()[0]}",
        allowed=f"conditions joined by AND, such as {_FILTERS}",
    )


def family_of(run: Run) -> str:
    """Return the family of a run."""
    return str(run.data.tags.get(FAMILY, ""))


def metrics_of(run: Run) -> dict[str, float]:
    """Return a run's last values, on validation those of the best epoch; what MLflow keeps of infinity is infinity."""
    largest = sys.float_info.max
    return {
        name: math.copysign(math.inf, value) if abs(value) == largest else value
        for name, value in figures(run.data.metrics).items()
    }


def matches(run: Run, pattern: str) -> bool:
    """Return whether a run's name, model type or family matches the pattern."""
    tags = run.data.tags
    return filters.is_like(pattern, run.info.run_name, tags.get(MODEL_TYPE), tags.get(FAMILY))
