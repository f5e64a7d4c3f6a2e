"""What is known of runs that are compared: the figures and parameters to show, the best of each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from asr_lab.config.identity import NOT_IDENTITY
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import deciding, makes_adapters, shown
from asr_lab.metrics.catalog import direction
from asr_lab.reports.comparison import STD
from asr_lab.tracking.queries.runs import Run, family_of, metrics_of
from asr_lab.tracking.tags import DATA, KIND, TEXT

_SEED = "run.seed"
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


@dataclass(frozen=True)
class Ranking:
    """Rows of runs or of groups of runs, best first, and what the best of each column is."""

    frame: pd.DataFrame
    """Indexed by run ids, or numbers of groups."""
    best: dict[str, Any]
    """Metric -> index of its best row, for columns with a direction."""
    reasons: list[str]
    """Why columns have no best row, and other notes."""
    not_numbers: set[tuple[Any, str]]
    """(Index, metric) of values that are NaN; other gaps were not measured."""


@dataclass(frozen=True)
class RunSet:
    """Runs to compare, and the metric that ranks them ("" if none decides)."""

    runs: Sequence[Run]
    metric: str

    @cached_property
    def shown_metrics(self) -> list[str]:
        """The deciding metric and the main metrics of the families, if at least one run has a value."""
        names = [self.metric] if self.metric else []
        names += [name for family in dict.fromkeys(map(family_of, self.runs)) for name in shown(family)]
        return [name for name in dict.fromkeys(names) if any(name in metrics_of(run) for run in self.runs)]

    def each(self) -> Ranking:
        """Rank the runs one by one: the differing parameters, then the main metrics of the families."""
        differing = differing_params(self.runs)
        several_families = len(set(map(family_of, self.runs))) > 1
        rows: list[dict[str, Any]] = []
        for run in self.runs:
            row: dict[str, Any] = {"run": run.info.run_name}
            if several_families:
                row["family"] = family_of(run)
            row |= {name: run.data.params.get(name, "") for name in differing}
            row |= {name: metrics_of(run).get(name) for name in self.shown_metrics}
            rows.append(row)
        ranking = self._ranking(self._sorted(self._indexed(rows)), self._without_metric(), self._not_numbers())
        if self.metric in ranking.best or not self.metric or direction(self.metric) == "neither":
            return ranking
        is_measured = not not_comparable(self.runs, self.metric)
        return replace(ranking, reasons=[*ranking.reasons, *[f"no run has a finite {self.metric}"] * is_measured])

    def methods(self) -> Ranking:
        """List the runs by training method (scratch, fine-tune, adapter): error rates and costs."""
        rows = [
            {"run": run.info.run_name, "way": _method(run), **{name: metrics_of(run).get(name) for name in _COSTS}}
            for run in self.runs
        ]
        return self._ranking(self._indexed(rows), [], self._not_numbers())

    def groups(self, by: Sequence[str]) -> Ranking:
        """Rank groups of runs with the same parameters `by`: `n` runs, means and standard deviations (`STD`).

        Raises `AsrLabError` for a parameter that no run has.
        """
        groups: dict[tuple[str, ...], list[Run]] = {}
        for run in self.runs:
            groups.setdefault(tuple(run.data.params.get(key, "") for key in self._known(by)), []).append(run)
        rows, fewer, nan = [], [], set[tuple[int, str]]()
        for place, (values, members) in enumerate(groups.items()):
            row: dict[str, Any] = dict(zip(by, values, strict=True)) | {"n": len(members)}
            for name in self.shown_metrics:
                figures = pd.Series([metrics_of(run)[name] for run in members if name in metrics_of(run)], dtype=float)
                row |= {name: figures.mean(skipna=False), name + STD: figures.std(ddof=1, skipna=False)}
                if len(figures) and pd.isna(row[name]):
                    nan.add((place, name))
                if 0 < len(figures) < len(members):
                    fewer.append(f"{name} of {', '.join(values)} ({len(figures)} of {len(members)})")
            rows.append(row)
        notes = [f"means of fewer than n runs: {listing(fewer, 4)}"] if fewer else []
        within = {key for members in groups.values() for key in differing_params(members)} - {_SEED, *by}
        if within:
            notes.insert(0, f"runs of one group differ in more than the seed: {listing(sorted(within), 6)}")
        return self._ranking(self._sorted(pd.DataFrame(rows)), notes, nan)

    def _known(self, keys: Sequence[str]) -> Sequence[str]:
        known = {key for run in self.runs for key in run.data.params}
        for key in keys:
            if key not in known:
                near = nearest(key, known)
                raise AsrLabError(
                    f"no run has the parameter {key!r}" + (f"; did you mean {near!r}?" if near else ""),
                    allowed=listing(differing_params(self.runs) or sorted(known)),
                )
        return keys

    def _indexed(self, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
        return pd.DataFrame(rows, index=[run.info.run_id for run in self.runs])

    def _sorted(self, frame: pd.DataFrame) -> pd.DataFrame:
        if not self.metric:
            return frame
        upwards = direction(self.metric) != "higher"
        return frame.sort_values(self.metric, ascending=upwards, na_position="last", kind="stable")

    def _ranking(self, frame: pd.DataFrame, notes: Sequence[str], nan: set[tuple[Any, str]]) -> Ranking:
        best: dict[str, Any] = {}
        reasons: dict[str, str] = {}
        for column in frame.columns:
            side = direction(column)
            if side == "neither" or not pd.api.types.is_numeric_dtype(frame[column]):
                continue
            finite = frame[column][np.isfinite(frame[column].astype(float))]
            if finite.empty:
                continue
            if reason := not_comparable(self.runs, column):
                reasons.setdefault(reason.partition(":")[0], reason)
                continue
            best[column] = finite.idxmin() if side == "lower" else finite.idxmax()
        return Ranking(frame, best, [*reasons.values(), *notes], nan)

    def _without_metric(self) -> list[str]:
        if not self.metric:
            return ["none of these runs has a metric that decides for its family"]
        names = [run.info.run_name for run in self.runs if self.metric not in metrics_of(run)]
        return [f"without {self.metric}: {listing(names, 4)}"] if names else []

    def _not_numbers(self) -> set[tuple[str, str]]:
        """Return (run id, metric) of the metrics whose value is NaN, which a table of figures takes for a gap."""
        return {
            (run.info.run_id, name) for run in self.runs for name, value in metrics_of(run).items() if value != value
        }


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


def differing_params(runs: Sequence[Run]) -> list[str]:
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


def _method(run: Run) -> str:
    kind = str(run.data.tags.get(KIND, "train"))
    if kind != "train":
        return kind  # an evaluation or import
    if makes_adapters(family_of(run)):
        return "adapter"
    return "fine-tune" if run.data.params.get("model.pretrained") else "scratch"
