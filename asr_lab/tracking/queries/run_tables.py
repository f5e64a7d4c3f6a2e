"""Tables of runs: differing parameters, main metrics, best values, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from mlflow.entities import Run

from asr_lab.config.identity import NOT_IDENTITY
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import deciding, makes_adapters, shown
from asr_lab.metrics.catalog import direction
from asr_lab.reports.table import Table
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.store import client, explain_store_errors
from asr_lab.tracking.tags import DATA, FAMILY, KIND, TEXT

SEED = "run.seed"
STD = "_std"


def family_of(run: Run) -> str:
    """Return the family of a run."""
    return str(run.data.tags.get(FAMILY, ""))


def deciding_metric(runs: Sequence[Run], wanted: str = "") -> str:
    """Return the metric that ranks the runs: `wanted`, or the deciding one of the first family whose runs have it.

    "" if no run has a deciding metric. Raises `AsrLabError` if no run has `wanted`.
    """
    known = {name for run in runs for name in run.data.metrics}
    if wanted and wanted not in known:
        near = nearest(wanted, known)
        raise AsrLabError(
            f"none of the runs has the metric {wanted!r}" + (f"; did you mean {near!r}?" if near else ""),
            allowed=listing(sorted(name for name in known if direction(name) != "neither")),
        )
    families = dict.fromkeys(family_of(run) for run in runs)
    return wanted or next((metric for name in families if (metric := deciding(name, known))), "")


def shown_metrics(runs: Sequence[Run], decides: str) -> list[str]:
    """Return the deciding metric and the main metrics of the families, if at least one run has a value."""
    names = [decides] if decides else []
    names += [name for family in dict.fromkeys(map(family_of, runs)) for name in shown(family)]
    return [name for name in dict.fromkeys(names) if any(name in run.data.metrics for run in runs)]


def differing_params(runs: Sequence[Run]) -> list[str]:
    """Return the config keys (they have a dot) that change the computation and differ between the runs.

    A key is compared only among the families that have it.
    """
    known: dict[str, set[str]] = {}
    for run in runs:
        known.setdefault(family_of(run), set()).update(key for key in run.data.params if "." in key)
    keys = sorted(set().union(*known.values()) - NOT_IDENTITY)
    return [key for key in keys if len({run.data.params.get(key) for run in runs if key in known[family_of(run)]}) > 1]


def comparison(runs: Sequence[Run], decides: str) -> pd.DataFrame:
    """Return one row per run: the differing parameters, then the main metrics of the families.

    Sorted by the deciding metric, best first; indexed by run ids.
    """
    metrics, differing = shown_metrics(runs, decides), differing_params(runs)
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


Groups: TypeAlias = tuple[pd.DataFrame, list[str], list[str], set[tuple[int, str]]]


def grouped(runs: Sequence[Run], by: Sequence[str], decides: str) -> Groups:
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
                allowed=listing(differing_params(runs) or sorted(known)),
            )
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.data.params.get(key, "") for key in by), []).append(run)
    rows, fewer, measured = [], [], list[list[str]]()
    for values, members in groups.items():
        row: dict[str, Any] = dict(zip(by, values, strict=True)) | {"n": len(members)}
        measured.append([])
        for name in shown_metrics(runs, decides):
            figures = pd.Series([metrics_of(run)[name] for run in members if name in run.data.metrics], dtype=float)
            row |= {name: figures.mean(skipna=False), name + STD: figures.std(ddof=1, skipna=False)}
            if len(figures):
                measured[-1].append(name)
            if 0 < len(figures) < len(members):
                fewer.append(f"{name} of {', '.join(values)} ({len(figures)} of {len(members)})")
        rows.append(row)
    within = {key for members in groups.values() for key in differing_params(members)}
    nan = {(place, name) for place, row in enumerate(rows) for name in measured[place] if pd.isna(row[name])}
    return _ranked(pd.DataFrame(rows), decides), sorted(within - {SEED, *by}), fewer, nan


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


def methods(runs: Sequence[Run]) -> pd.DataFrame:
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


def not_comparable(runs: Sequence[Run], metric: str) -> str:
    """Return why the runs cannot be ranked by a metric; "" if they can.

    They need the same data of the metric's split, and the same text normaliser.
    """
    split, having = metric.split("/")[0], [run for run in runs if metric in run.data.metrics]
    for tag, what in ((DATA + split, f"data ({split})"), (TEXT, "text normalisation")):
        if len({run.data.tags.get(tag) for run in having}) > 1:
            return f"these runs were evaluated on different {what}: no winner is called in {metric}"
    return ""


def best_of(table: pd.DataFrame, runs: Sequence[Run]) -> tuple[dict[str, Any], list[str]]:
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


def not_numbers(runs: Sequence[Run]) -> set[tuple[str, str]]:
    """Return (run id, metric) of the metrics whose value is NaN, which a table of figures takes for a gap."""
    return {(run.info.run_id, name) for run in runs for name, value in run.data.metrics.items() if value != value}


def curves(runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """Return every logged value of the metrics: `run, metric, step, seconds` (since the start of the run), `value`."""
    tracking = client()
    with explain_store_errors("the curves cannot be read"):
        rows = [
            {
                "run": run.info.run_name,
                "metric": name,
                "step": point.step,
                "seconds": (point.timestamp - run.info.start_time) / 1000,
                "value": point.value,
            }
            for run in runs
            for name in metrics
            if name in run.data.metrics
            for point in tracking.get_metric_history(run.info.run_id, name)
        ]
    return pd.DataFrame(rows, columns=["run", "metric", "step", "seconds", "value"])


def log_comparison(runs: Sequence[Run], table: Table, figure: Any, page: str) -> None:
    """Log a comparison's table, figure and page (if any) to each run, under `compare/`."""
    tracking = client()
    with explain_store_errors("the comparison cannot be logged to its runs"):
        for run in runs:
            tracking.log_text(run.info.run_id, table.csv(), "compare/table.csv")
            tracking.log_figure(run.info.run_id, figure, "compare/curves.png")
            if page:
                tracking.log_text(run.info.run_id, page, "compare/comparison.html")
