"""Page that compares runs: a sortable table, significance, parallel coordinates, and metric curves.

It is a single file that loads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from asr_lab.metrics.catalog import direction, format_of
from asr_lab.reports.numbers import format_metric, json_value
from asr_lab.reports.page import render

_EVIDENCE = ("difference", "low", "high", "p")
_MOST_POINTS = 300  # per curve


def comparison_page(
    table: pd.DataFrame,
    *,
    metric: str,
    best: Mapping[str, Any],
    sentences: Sequence[str],
    baseline: str,
    curves: pd.DataFrame,
    not_numbers: Collection[tuple[Any, str]] = (),
) -> str:
    """Render a comparison: one row per run (`run`, parameters, metrics, and `difference, low, high, p` if tested).

    `best` maps a column to the index of its bold row; `baseline` is the index of the row tested against, or "";
    `curves` has the columns `run, metric, step, seconds, value`; `not_numbers` are the cells, (index, column), that
    are NaN.
    """
    records = zip(table.index, table.to_dict("records"), strict=True)
    columns = [str(name) for name in table.columns if name not in _EVIDENCE]
    content = {
        "metric": metric,
        "baseline": baseline,
        "best": {column: str(row) for column, row in best.items()},
        "columns": [_column(table, name) for name in columns],
        "rows": [_row(index, row, columns, not_numbers) for index, row in records],
        "tested": "p" in table,
        "curves": _curves(curves),
        "formats": {str(name): format_of(str(name)) for name in curves["metric"].unique()},
    }
    title = f"{len(table)} runs compared" + (f" by {metric}" if metric else "")
    return render("comparison", title=title, sentences=sentences, data=content)


def _column(table: pd.DataFrame, name: str) -> dict[str, Any]:
    figure = bool(pd.api.types.is_numeric_dtype(table[name]))
    better = direction(name) if figure else "neither"
    return {"name": name, "figure": figure, "better": better, "format": format_of(name)}


def _row(
    index: Any, row: Mapping[Any, Any], columns: Sequence[str], not_numbers: Collection[tuple[Any, str]]
) -> dict[str, Any]:
    tested = {name: json_value(row[name]) for name in _EVIDENCE if name in row}
    return {
        "id": str(index),
        "values": [json_value(row[name]) for name in columns],
        "shown": ["NaN" if (index, name) in not_numbers else format_metric(name, row[name]) for name in columns],
        "tested": tested if tested.get("p") is not None else None,
    }


def _curves(curves: pd.DataFrame) -> dict[str, dict[str, list[list[float]]]]:
    """Map metric and run to (minutes, value) of at most 300 of its points, including the last."""
    by_metric: dict[str, dict[str, list[list[float]]]] = {}
    for (metric, run), points in curves.groupby(["metric", "run"], sort=False):
        part = points[points["value"].map(math.isfinite)].sort_values(["step", "seconds"])
        if len(part) > 1:
            thinned = part.iloc[:: -max(1, math.ceil(len(part) / _MOST_POINTS))][::-1]
            pairs = zip(thinned["seconds"], thinned["value"], strict=True)
            by_metric.setdefault(str(metric), {})[str(run)] = [[round(s / 60, 4), round(v, 6)] for s, v in pairs]
    return by_metric
