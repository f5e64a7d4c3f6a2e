"""Comparison of runs for `asr-lab compare` and `compare_runs`: a table, the best runs, significance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import SWEEP_KIND
from asr_lab.metrics.ratios import rate_of
from asr_lab.reports.comparison import ComparisonReport
from asr_lab.tracking.queries import trained_on
from asr_lab.tracking.queries.evidence import Evidence, measure_differences, summarize
from asr_lab.tracking.queries.find import find_run
from asr_lab.tracking.queries.run_set import Ranking, RunSet, deciding_metric
from asr_lab.tracking.queries.runs import Run, metrics_of
from asr_lab.tracking.tags import KIND

_MOST_TESTED = 20  # with more runs, none is tested against the best by default

Progress = Callable[[int], AbstractContextManager[Callable[[], object]]]
"""Number of steps -> a context manager; call its value after each step."""


@contextmanager
def _no_progress(total: int) -> Iterator[Callable[[], object]]:
    yield lambda: None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Compared runs, and what is to be reported of them."""

    runs: Sequence[Run]
    """In the order of the report's rows, if these are runs."""
    report: ComparisonReport
    silent: Mapping[str, str] = field(default_factory=dict)
    """Run id -> why there is no verdict on its difference."""


def compare(
    runs: Sequence[Run],
    *,
    metric: str = "",
    vs: str | None = None,
    by: Sequence[str] = (),
    methods: bool = False,
    progress: Progress = _no_progress,
) -> Comparison:
    """Compare runs: one by one, by training method (`methods`), or in groups with the same parameters `by`.

    `metric` ranks the rows; "" selects the family's deciding metric. `vs` is the run, or `best`, that the others are
    tested against (it is added if it is not among `runs`); "" tests nothing; None tests against the best of at most 20
    runs if possible. Raises `AsrLabError` if a requested test is impossible.
    """
    baseline = find_run(vs) if vs and vs != "best" else None
    if baseline and baseline.info.run_id not in {run.info.run_id for run in runs}:
        runs = [*runs, baseline]
    runs, sweeps = (runs, []) if methods else _without_sweeps(runs)
    compared = RunSet(runs, (methods and metric) or deciding_metric(runs, metric))
    if methods or by:
        ranking = compared.methods() if methods else compared.groups(by)
        sentences, evidence = _best_rows(ranking, by), None
    else:
        ranking = compared.each()
        if len(runs) == 1 and not vs:
            ranking = replace(ranking, best={}, reasons=["one run alone: nothing is compared"])
        evidence, notes = _evidence(compared, ranking, vs, baseline, progress)
        sentences = [*_best_rows(ranking), *notes]
    place = {run_id: number for number, run_id in enumerate(ranking.frame.index)}
    report = ComparisonReport(
        frame=ranking.frame.join(evidence.differences) if evidence else ranking.frame,
        metric=compared.metric,
        best=ranking.best,
        sentences=[*sentences, *trained_on.sentences(runs, "test/" if methods else compared.metric), *sweeps],
        baseline=evidence.baseline.info.run_id if evidence else "",
        not_numbers=ranking.not_numbers,
    )
    return Comparison(
        runs=sorted(runs, key=lambda run: place.get(run.info.run_id, 0)),
        report=report,
        silent=evidence.silent if evidence else {},
    )


def _without_sweeps(runs: Sequence[Run]) -> tuple[Sequence[Run], list[str]]:
    """Leave out the runs of sweeps if there are others: their metrics are those of a trial; return a note on them."""
    sweeps = [run for run in runs if run.data.tags.get(KIND) == SWEEP_KIND]
    if not sweeps or len(sweeps) == len(runs):
        return runs, []
    names = listing((str(run.info.run_name) for run in sweeps), 4)
    return [run for run in runs if run not in sweeps], [f"left out, as sweeps have the figures of a trial: {names}"]


def _best_rows(ranking: Ranking, by: Sequence[str] = ()) -> list[str]:
    """Name the best row of each metric, by its parameters if rows are groups; then the notes of the ranking."""
    sentences = []
    for column, row in ranking.best.items():
        if by:
            named = ", ".join(f"{key}={ranking.frame.loc[row, key]}" for key in by)
            sentences.append(f"best mean {column}: {named}")
        else:
            measured = ranking.frame[column].notna().sum() + sum(name == column for _, name in ranking.not_numbers)
            alone = " (no other has one)" if len(ranking.frame) > 1 and measured == 1 else ""
            sentences.append(f"best {column}: {listing(_as_good(ranking.frame, column, row), 4)}{alone}")
    return sentences + ranking.reasons


def _as_good(frame: pd.DataFrame, column: str, row: Any) -> list[str]:
    """Return the names of the best row and of those with the same value."""
    tied = frame[frame[column] == frame.loc[row, column]].drop(index=row)
    return [str(name) for name in (frame.loc[row, "run"], *tied["run"])]


def _evidence(
    compared: RunSet, ranking: Ranking, vs: str | None, baseline: Run | None, progress: Progress
) -> tuple[Evidence | None, list[str]]:
    """Test the runs against `baseline`, or the best of them, as `vs` of `compare` says; return sentences on it, too."""
    metric, best = compared.metric, ranking.best
    having = [run for run in compared.runs if metric in metrics_of(run)]
    testable = bool(rate_of(metric)) and 1 < len(having) <= _MOST_TESTED and metric in best
    if not vs and not (vs is None and testable):
        return None, []
    if baseline is None and metric not in best:
        raise AsrLabError("; ".join(["there is no best run to compare with", *ranking.reasons]))
    reference = baseline or next(run for run in compared.runs if run.info.run_id == best[metric])
    try:
        with progress(len(having)) as advance:
            evidence = measure_differences(having, metric, reference, advance, chosen=baseline is None)
    except AsrLabError as error:
        if vs:
            raise
        return None, [f"no significance: {reference.info.run_name}: {error.what}"]
    return evidence, summarize(evidence, {run.info.run_id: str(run.info.run_name) for run in having})
