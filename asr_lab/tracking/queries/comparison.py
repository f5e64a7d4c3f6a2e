"""Comparison of runs for `asr-lab compare` and `compare_runs`: a table, the best runs, significance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import SWEEP_KIND
from asr_lab.metrics.catalog import Format
from asr_lab.metrics.ratios import rate_of
from asr_lab.reports.numbers import format_metric, format_value
from asr_lab.reports.table import Table
from asr_lab.tracking.queries import trained_on
from asr_lab.tracking.queries.evidence import Evidence, measure_differences, summarize
from asr_lab.tracking.queries.find import find_run
from asr_lab.tracking.queries.run_set import STD, Ranking, RunSet, deciding_metric
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
    """A table of runs or of groups of runs, and the sentences below it."""

    runs: Sequence[Run]
    metric: str
    """Ranks the rows; "" if no metric decides."""
    frame: pd.DataFrame
    """Best first; indexed by run ids, or numbers of groups."""
    best: Mapping[str, Any] = field(default_factory=dict)
    """Metric -> index of the best row."""
    sentences: Sequence[str] = ()
    evidence: Evidence | None = None
    not_numbers: Collection[tuple[Any, str]] = ()
    """(Index, metric) of values that are NaN; other gaps were not measured."""

    def ranked(self) -> list[Run]:
        """Return the runs in the order of the table."""
        order = {run_id: place for place, run_id in enumerate(self.frame.index)}
        return sorted(self.runs, key=lambda run: order.get(run.info.run_id, len(order)))

    def table(self) -> Table:
        """Return the table with one number per column."""
        formats: dict[str, Format] = {"difference": "change", "p": "p"}
        return Table(frame=self.frame, best=self.best, formats=formats, not_numbers=self.not_numbers)

    def summary_table(self) -> Table:
        """Return the table with intervals and standard deviations beside their values."""
        frame = self.frame.copy()
        for column in [name for name in frame if str(name).endswith(STD)]:
            mean = str(column).removesuffix(STD)
            pairs = zip(frame[mean].tolist(), frame.pop(column).tolist(), strict=True)
            frame[mean] = [_with_spread(mean, value, spread) for value, spread in pairs]
        if self.evidence:
            bounds = zip(frame.pop("low").tolist(), frame.pop("high").tolist(), strict=True)
            texts = [f"{low:+.1%} to {high:+.1%}" if low == low else "-" for low, high in bounds]
            frame.insert(list(frame).index("difference") + 1, "95 % interval", texts)
            frame["p"] = [format_value(p, "p") for p in frame["p"].tolist()]
        return Table(
            frame=frame,
            best=self.best,
            formats={"difference": "change"},
            headings={"way": "method"},
            not_numbers=self.not_numbers,
            expendable=self._expendable(),
        )

    def _expendable(self) -> list[str]:
        """Return the other metrics, then the parameters, each from the last one on; of groups no parameter."""
        others = [str(name) for name in reversed(list(self.frame)) if name not in ("run", "n", "way", self.metric)]
        metrics = [name for name in others if "/" in name]
        tested = ("difference", "low", "high", "p")
        is_grouped = "n" in self.frame
        return metrics + [name for name in others if name not in (*metrics, *tested) and not is_grouped]


def _with_spread(column: str, value: float, spread: float) -> str:
    figure = format_metric(column, value)
    return figure if pd.isna(spread) else f"{figure} ± {format_metric(column + STD, spread)}"


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
    return Comparison(
        runs=runs,
        metric=compared.metric,
        frame=ranking.frame.join(evidence.differences) if evidence else ranking.frame,
        best=ranking.best,
        sentences=[*sentences, *trained_on.sentences(runs, "test/" if methods else compared.metric), *sweeps],
        evidence=evidence,
        not_numbers=ranking.not_numbers,
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
