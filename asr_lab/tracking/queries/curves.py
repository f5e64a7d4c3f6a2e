"""Learning curves of runs, and comparisons logged to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Run

from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.store import client, explain_store_errors, tracking_uri


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


def log_comparison(runs: Sequence[Run], table: str, figure: Any, page: str) -> None:
    """Log a comparison's table (CSV), figure and page (if any) to each run, under `compare/`."""
    tracking = client()
    refuse_moved(tracking_uri())
    with explain_store_errors("the comparison cannot be logged to its runs"):
        for run in runs:
            tracking.log_text(run.info.run_id, table, "compare/table.csv")
            tracking.log_figure(run.info.run_id, figure, "compare/curves.png")
            if page:
                tracking.log_text(run.info.run_id, page, "compare/comparison.html")
