"""A comparison of runs, as a table with one number per column, as a summary, and as a page.

The page is a single file that loads nothing: a sortable table, significance, parallel coordinates, metric curves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from asr_lab.metrics.catalog import Format, direction, format_of
from asr_lab.reports.numbers import format_metric, format_value, json_value
from asr_lab.reports.page import render
from asr_lab.reports.table import Table
from asr_lab.units import counted

STD = "_std"
"""Ending of the column with the standard deviation of another one."""
_EVIDENCE = ("difference", "low", "high", "p")
_MOST_POINTS = 300  # per curve


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """A table of runs or of groups of runs, and the sentences below it."""

    frame: pd.DataFrame
    """One row per run (`run`, parameters, metrics, and `difference, low, high, p` if tested) or group, best first."""
    metric: str
    """Ranks the rows; "" if no metric decides."""
    best: Mapping[str, Any] = field(default_factory=dict)
    """Metric -> index of the best row."""
    sentences: Sequence[str] = ()
    baseline: str = ""
    """Index of the row that the others are tested against; "" if none is."""
    not_numbers: Collection[tuple[Any, str]] = ()
    """(Index, metric) of values that are NaN; other gaps were not measured."""

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
        if self.baseline:
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

    def text(self, style: str) -> str:
        """Render the comparison in one of `table.STYLES`: JSON and CSV with one number per column."""
        table = self.table() if style in ("json", "csv") else self.summary_table()
        return table.text(style)

    def page(self, curves: pd.DataFrame) -> str:
        """Render the page; `curves` has the columns `run, metric, step, seconds, value`."""
        frame = self.frame.drop(columns=[name for name in _EVIDENCE if name in self.frame])
        texts = zip(*Table(frame=frame, not_numbers=self.not_numbers).cells().values(), strict=True)
        rows = zip(frame.index, frame.to_dict("records"), texts, self._tested(), strict=True)
        content = {
            "metric": self.metric,
            "baseline": self.baseline,
            "best": {column: str(row) for column, row in self.best.items()},
            "columns": [_column(str(name), frame[name]) for name in frame],
            "rows": [
                {"id": str(index), "values": [*map(json_value, row.values())], "shown": shown, "tested": tested}
                for index, row, shown, tested in rows
            ],
            "tested": "p" in self.frame,
            "curves": _curves(curves),
            "formats": {str(name): format_of(str(name)) for name in curves["metric"].unique()},
        }
        title = f"{counted(len(frame), 'run')} compared" + (f" by {self.metric}" if self.metric else "")
        return render("comparison", title=title, sentences=self.sentences, data=content)

    def _tested(self) -> list[dict[str, Any] | None]:
        """Return the evidence on each row, None where there is none."""
        if "p" not in self.frame:
            return [None] * len(self.frame)
        rows = self.frame[list(_EVIDENCE)].to_dict("records")
        return [None if pd.isna(row["p"]) else {str(name): json_value(row[name]) for name in row} for row in rows]

    def _expendable(self) -> list[str]:
        """Return the other metrics, then the parameters, each from the last one on; of groups no parameter."""
        others = [str(name) for name in reversed(list(self.frame)) if name not in ("run", "n", "way", self.metric)]
        metrics = [name for name in others if "/" in name]
        is_grouped = "n" in self.frame
        return metrics + [name for name in others if name not in (*metrics, *_EVIDENCE) and not is_grouped]


def _with_spread(column: str, value: float, spread: float) -> str:
    figure = format_metric(column, value)
    return figure if pd.isna(spread) else f"{figure} ± {format_metric(column + STD, spread)}"


def _column(name: str, values: pd.Series) -> dict[str, Any]:
    figure = bool(pd.api.types.is_numeric_dtype(values))
    better = direction(name) if figure else "neither"
    return {"name": name, "figure": figure, "better": better, "format": format_of(name)}


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
