"""Comparison of runs for `asr-lab compare` and `compare_runs`: a table, the best runs, significance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from asr_lab.config.identity import NOT_IDENTITY
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import deciding, makes_adapters, shown
from asr_lab.interfaces.tracking import SWEEP_KIND
from asr_lab.metrics.catalog import Format, direction
from asr_lab.metrics.ratios import rate_of
from asr_lab.reports.numbers import format_metric, format_value
from asr_lab.reports.table import Table
from asr_lab.tracking.queries.find import find_run
from asr_lab.tracking.queries.runs import Run, family_of, metrics_of
from asr_lab.tracking.queries.significance import Evidence, measure_differences, summarize
from asr_lab.tracking.tags import DATA, KIND, TEXT

_SEED = "run.seed"
_STD = "_std"
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
        for column in [name for name in frame if str(name).endswith(_STD)]:
            mean = str(column).removesuffix(_STD)
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
    return figure if pd.isna(spread) else f"{figure} ± {format_metric(column + _STD, spread)}"


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
    compared, sweeps = _without_sweeps(runs)
    decides = deciding_metric(compared, metric)
    done = _compare_groups(compared, by, decides) if by else _compare_runs(compared, decides, vs, baseline, progress)
    return replace(done, sentences=[*done.sentences, *sweeps])


def _without_sweeps(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Leave out the runs of sweeps if there are others: their metrics are those of a trial; return a note on them."""
    sweeps = [run for run in runs if run.data.tags.get(KIND) == SWEEP_KIND]
    if not sweeps or len(sweeps) == len(runs):
        return list(runs), []
    names = listing((str(run.info.run_name) for run in sweeps), 4)
    return [run for run in runs if run not in sweeps], [f"left out, as sweeps have the figures of a trial: {names}"]


def _compare_methods(runs: Sequence[Run], metric: str) -> Comparison:
    frame = _methods(runs)
    best, reasons = _best_of(frame, runs)
    decides = metric or deciding_metric(runs)
    sentences = [*_best_sentences(frame, best), *reasons]
    nan = _not_numbers(runs)
    return Comparison(runs=runs, metric=decides, frame=frame, best=best, sentences=sentences, not_numbers=nan)


def _compare_groups(runs: Sequence[Run], by: Sequence[str], decides: str) -> Comparison:
    frame, within, fewer, nan = _grouped(runs, by, decides)
    best, reasons = _best_of(frame, runs)
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
    frame = _table(runs, decides)
    best, reasons = _best_of(frame, runs)
    sentences = [*_best_sentences(frame, best), *reasons, *_without_metric(runs, decides)]
    if len(runs) == 1 and not vs:
        best, sentences = {}, ["one run alone: nothing is compared"]
    elif decides and decides not in best and not reasons and direction(decides) != "neither":
        sentences.append(f"no run has a finite {decides}")
    nan = _not_numbers(runs)
    compared = Comparison(runs=runs, metric=decides, frame=frame, best=best, sentences=sentences, not_numbers=nan)
    having = [run for run in runs if decides in metrics_of(run)]
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
    names = [run.info.run_name for run in runs if decides not in metrics_of(run)]
    return [f"without {decides}: {listing(names, 4)}"] if names else []


def _table(runs: Sequence[Run], decides: str) -> pd.DataFrame:
    """Return one row per run: the differing parameters, then the main metrics of the families.

    Sorted by the deciding metric, best first; indexed by run ids.
    """
    metrics, differing = _shown_metrics(runs, decides), _differing_params(runs)
    several_families = len(set(map(family_of, runs))) > 1
    rows: list[dict[str, Any]] = []
    for run in runs:
        row: dict[str, Any] = {"run": run.info.run_name}
        if several_families:
            row["family"] = family_of(run)
        row |= {name: run.data.params.get(name, "") for name in differing}
        row |= {name: metrics_of(run).get(name) for name in metrics}
        rows.append(row)
    return _ranked(pd.DataFrame(rows, index=[run.info.run_id for run in runs]), decides)


def _ranked(table: pd.DataFrame, decides: str) -> pd.DataFrame:
    if not decides:
        return table
    return table.sort_values(decides, ascending=direction(decides) != "higher", na_position="last", kind="stable")


_Groups: TypeAlias = tuple[pd.DataFrame, list[str], list[str], set[tuple[int, str]]]


def _grouped(runs: Sequence[Run], by: Sequence[str], decides: str) -> _Groups:
    """Return one row per combination of the parameters `by`: `n` runs, mean and standard deviation (`..._std`).

    Also return the parameters other than the seed that differ within a group, the means of fewer than `n` runs, and
    the means, (index, metric), that are NaN because one of a run is. Raises `AsrLabError` for a parameter that no run
    has.
    """
    known = {key for run in runs for key in run.data.params}
    for key in by:
        if key not in known:
            near = nearest(key, known)
            raise AsrLabError(
                f"no run has the parameter {key!r}" + (f"; did you mean {near!r}?" if near else ""),
                allowed=listing(_differing_params(runs) or sorted(known)),
            )
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.data.params.get(key, "") for key in by), []).append(run)
    rows, fewer, measured = [], [], list[list[str]]()
    for values, members in groups.items():
        row: dict[str, Any] = dict(zip(by, values, strict=True)) | {"n": len(members)}
        measured.append([])
        for name in _shown_metrics(runs, decides):
            figures = pd.Series([metrics_of(run)[name] for run in members if name in metrics_of(run)], dtype=float)
            row |= {name: figures.mean(skipna=False), name + _STD: figures.std(ddof=1, skipna=False)}
            if len(figures):
                measured[-1].append(name)
            if 0 < len(figures) < len(members):
                fewer.append(f"{name} of {', '.join(values)} ({len(figures)} of {len(members)})")
        rows.append(row)
    within = {key for members in groups.values() for key in _differing_params(members)}
    nan = {(place, name) for place, row in enumerate(rows) for name in measured[place] if pd.isna(row[name])}
    return _ranked(pd.DataFrame(rows), decides), sorted(within - {_SEED, *by}), fewer, nan


_COSTS = (
    "test/wer",
    "test/wer_low",
    "test/wer_high",
    "test/cer",
    "perf/seconds",
    "perf/peak_memory_mb",
    "model/size_mb",
    "model/trainable_params",
    "model/trainable_share",
)


def _methods(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per run: training method (scratch, fine-tune, adapter), error rates, and costs."""
    rows = [
        {"run": run.info.run_name, "way": _method(run), **{name: metrics_of(run).get(name) for name in _COSTS}}
        for run in runs
    ]
    return pd.DataFrame(rows, index=[run.info.run_id for run in runs])


def _method(run: Run) -> str:
    kind = str(run.data.tags.get(KIND, "train"))
    if kind != "train":
        return kind  # an evaluation or import
    if makes_adapters(family_of(run)):
        return "adapter"
    return "fine-tune" if run.data.params.get("model.pretrained") else "scratch"


def _best_of(table: pd.DataFrame, runs: Sequence[Run]) -> tuple[dict[str, Any], list[str]]:
    """Return metric -> index of its best row, for columns with a direction; and why some have none."""
    best: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for column in table.columns:
        side = direction(column)
        if side == "neither" or not pd.api.types.is_numeric_dtype(table[column]):
            continue
        finite = table[column][np.isfinite(table[column].astype(float))]
        if finite.empty:
            continue
        if reason := not_comparable(runs, column):
            reasons.setdefault(reason.partition(":")[0], reason)
            continue
        best[column] = finite.idxmin() if side == "lower" else finite.idxmax()
    return best, list(reasons.values())


def deciding_metric(runs: Sequence[Run], wanted: str = "") -> str:
    """Return the metric that ranks the runs: `wanted`, or the deciding one of the first family whose runs have it.

    "" if no run has a deciding metric. Raises `AsrLabError` if no run has `wanted`.
    """
    known = {name for run in runs for name in metrics_of(run)}
    if wanted and wanted not in known:
        near = nearest(wanted, known)
        raise AsrLabError(
            f"none of the runs has the metric {wanted!r}" + (f"; did you mean {near!r}?" if near else ""),
            allowed=listing(sorted(name for name in known if direction(name) != "neither")),
        )
    families = dict.fromkeys(family_of(run) for run in runs)
    return wanted or next((metric for name in families if (metric := deciding(name, known))), "")


def _shown_metrics(runs: Sequence[Run], decides: str) -> list[str]:
    """Return the deciding metric and the main metrics of the families, if at least one run has a value."""
    names = [decides] if decides else []
    names += [name for family in dict.fromkeys(map(family_of, runs)) for name in shown(family)]
    return [name for name in dict.fromkeys(names) if any(name in metrics_of(run) for run in runs)]


def _differing_params(runs: Sequence[Run]) -> list[str]:
    """Return the config keys (they have a dot) that change the computation and differ between the runs.

    A key is compared among the runs that have it.
    """
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.data.params.items():
            if "." in key and key not in NOT_IDENTITY:
                values.setdefault(key, set()).add(value)
    return sorted(key for key, different in values.items() if len(different) > 1)


def not_comparable(runs: Sequence[Run], metric: str) -> str:
    """Return why the runs cannot be ranked by a metric; "" if they can.

    They need the same data of the metric's split, and the same text normaliser, where they are known.
    """
    split, having = metric.split("/")[0], [run for run in runs if metric in metrics_of(run)]
    for tag, what in ((DATA + split, f"data ({split})"), (TEXT, "text normalisation")):
        if len({run.data.tags[tag] for run in having if tag in run.data.tags}) > 1:
            return f"these runs were evaluated on different {what}: no winner is called in {metric}"
    return ""


def _not_numbers(runs: Sequence[Run]) -> set[tuple[str, str]]:
    """Return (run id, metric) of the metrics whose value is NaN, which a table of figures takes for a gap."""
    return {(run.info.run_id, name) for run in runs for name, value in metrics_of(run).items() if value != value}
