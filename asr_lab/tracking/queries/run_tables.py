"""What runs can be compared by: their family, deciding and main metrics, differing parameters, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Run

from asr_lab.config.identity import NOT_IDENTITY
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import deciding, shown
from asr_lab.metrics.catalog import direction
from asr_lab.tracking.store import client, explain_store_errors
from asr_lab.tracking.tags import DATA, FAMILY, TEXT


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


def not_comparable(runs: Sequence[Run], metric: str) -> str:
    """Return why the runs cannot be ranked by a metric; "" if they can.

    They need the same data of the metric's split, and the same text normaliser.
    """
    split, having = metric.split("/")[0], [run for run in runs if metric in run.data.metrics]
    for tag, what in ((DATA + split, f"data ({split})"), (TEXT, "text normalisation")):
        if len({run.data.tags.get(tag) for run in having}) > 1:
            return f"these runs were evaluated on different {what}: no winner is called in {metric}"
    return ""


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


def log_comparison(runs: Sequence[Run], table: pd.DataFrame, figure: Any, page: str) -> None:
    """Log a comparison's table, figure and page (if any) to each run, under `compare/`."""
    tracking = client()
    with explain_store_errors("the comparison cannot be logged to its runs"):
        for run in runs:
            tracking.log_text(run.info.run_id, table.to_csv(index=False), "compare/table.csv")
            tracking.log_figure(run.info.run_id, figure, "compare/curves.png")
            if page:
                tracking.log_text(run.info.run_id, page, "compare/comparison.html")
