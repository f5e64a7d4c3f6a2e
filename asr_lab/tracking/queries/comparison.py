"""Comparison of runs for `asr-lab compare` and `compare_runs`: a table, the best runs, significance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics.catalog import Format
from asr_lab.metrics.ratios import rate_of
from asr_lab.reports.numbers import format_metric, format_value
from asr_lab.reports.table import Table
from asr_lab.tracking.queries import run_tables
from asr_lab.tracking.queries.find import find_run
from asr_lab.tracking.queries.runs import Run
from asr_lab.tracking.queries.significance import Evidence, measure_differences, summarize

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
        for column in [name for name in frame if str(name).endswith(run_tables.STD)]:
            mean = str(column).removesuffix(run_tables.STD)
            pairs = zip(frame[mean].tolist(), frame.pop(column).tolist(), strict=True)
            frame[mean] = [_with_spread(mean, value, spread) for value, spread in pairs]
        if self.evidence:
            bounds = zip(frame.pop("low").tolist(), frame.pop("high").tolist(), strict=True)
            texts = [f"{low:+.1%} to {high:+.1%}" if low == low else "-" for low, high in bounds]
            frame.insert(list(frame).index("difference") + 1, "95 % interval", texts)
            frame["p"] = [format_value(p, "p") for p in frame["p"].tolist()]
        return Table(frame=frame, best=self.best, formats={"difference": "change"}, not_numbers=self.not_numbers)


def _with_spread(column: str, value: float, spread: float) -> str:
    figure = format_metric(column, value)
    return figure if pd.isna(spread) else f"{figure} ± {format_metric(column + run_tables.STD, spread)}"


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
    if methods:
        return _compare_methods(runs, metric)
    baseline = find_run(vs) if vs and vs != "best" else None
    if baseline and baseline.info.run_id not in {run.info.run_id for run in runs}:
        runs = [*runs, baseline]
    decides = run_tables.deciding_metric(runs, metric)
    return _compare_groups(runs, by, decides) if by else _compare_runs(runs, decides, vs, baseline, progress)


def _compare_methods(runs: Sequence[Run], metric: str) -> Comparison:
    frame = run_tables.methods(runs)
    best, reasons = run_tables.best_of(frame, runs)
    decides = metric or run_tables.deciding_metric(runs)
    sentences = [*_best_sentences(frame, best), *reasons]
    nan = run_tables.not_numbers(runs)
    return Comparison(runs=runs, metric=decides, frame=frame, best=best, sentences=sentences, not_numbers=nan)


def _compare_groups(runs: Sequence[Run], by: Sequence[str], decides: str) -> Comparison:
    frame, within, fewer, nan = run_tables.grouped(runs, by, decides)
    best, reasons = run_tables.best_of(frame, runs)
    named = {column: ", ".join(f"{key}={frame.loc[row, key]}" for key in by) for column, row in best.items()}
    sentences = [f"best mean {column}: {name}" for column, name in named.items()] + reasons
    if within:
        sentences.append(f"runs of one group differ in more than the seed: {listing(within, 6)}")
    if fewer:
        sentences.append(f"means of fewer than n runs: {listing(fewer, 4)}")
    return Comparison(runs=runs, metric=decides, frame=frame, best=best, sentences=sentences, not_numbers=nan)


def _compare_runs(
    runs: Sequence[Run], decides: str, vs: str | None, baseline: Run | None, progress: Progress
) -> Comparison:
    frame = run_tables.comparison(runs, decides)
    best, reasons = run_tables.best_of(frame, runs)
    sentences = [*_best_sentences(frame, best), *reasons, *_without_metric(runs, decides)]
    nan = run_tables.not_numbers(runs)
    compared = Comparison(runs=runs, metric=decides, frame=frame, best=best, sentences=sentences, not_numbers=nan)
    having = [run for run in runs if decides in run.data.metrics]
    testable = bool(rate_of(decides)) and 1 < len(having) <= _MOST_TESTED and decides in best
    if not vs and not (vs is None and testable):
        return compared
    if baseline is None and decides not in best:
        raise AsrLabError("there is no best run to compare with" + "".join(f"; {reason}" for reason in reasons))
    reference = baseline or next(run for run in runs if run.info.run_id == best[decides])
    try:
        with progress(len(having)) as advance:
            evidence = measure_differences(having, decides, reference, advance, chosen=baseline is None)
    except AsrLabError as error:
        if vs:
            raise
        reason = f"no significance: {reference.info.run_name}: {error.what}"
        return replace(compared, sentences=[*sentences, reason])
    names = {run.info.run_id: str(run.info.run_name) for run in having}
    return replace(
        compared,
        frame=frame.join(evidence.differences),
        sentences=[*sentences, *summarize(evidence, names)],
        evidence=evidence,
    )


def _best_sentences(frame: pd.DataFrame, best: Mapping[str, Any]) -> list[str]:
    return [f"best {column}: {listing(_as_good(frame, column, row), 4)}" for column, row in best.items()]


def _as_good(frame: pd.DataFrame, column: str, row: Any) -> list[str]:
    """Return the names of the best row and of those with the same value."""
    tied = frame[frame[column] == frame.loc[row, column]].drop(index=row)
    return [str(name) for name in (frame.loc[row, "run"], *tied["run"])]


def _without_metric(runs: Sequence[Run], decides: str) -> list[str]:
    if not decides:
        return ["none of these runs has a metric that decides for its family"]
    names = [run.info.run_name for run in runs if decides not in run.data.metrics]
    return [f"without {decides}: {listing(names, 4)}"] if names else []
