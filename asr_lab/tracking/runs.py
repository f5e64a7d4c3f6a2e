"""Runs as tables: found by pattern and family, shown one at a time, compared side by side.

A run belongs to asr_lab by its tag `asr_lab.family`, in whatever experiment it lies.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Run

from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics.catalog import DECIDES, SHOWN, direction
from asr_lab.tracking.store import client, reaching

_MOST_RUNS = 10_000
_PAGE = 1000


def find(pattern: str = "", family: str = "", *, status: str = "", limit: int = _MOST_RUNS) -> list[Run]:
    """Runs of asr_lab, newest first.

    `pattern` is a glob or a plain part of the run's name, model type or family, case-blind.
    """
    conditions = ["tags.`asr_lab.family` IS NOT NULL"]
    if family:
        conditions.append(f"tags.`asr_lab.family` = '{family}'")
    if status:
        conditions.append(f"attributes.status = '{status}'")
    found: list[Run] = []
    with reaching("the runs cannot be listed"):
        tracking = client()
        experiments = [experiment.experiment_id for experiment in tracking.search_experiments()]
        token: str | None = None
        while len(found) < limit:
            page = tracking.search_runs(
                experiments,
                " and ".join(conditions),
                max_results=_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found += [run for run in page if matches(run, pattern)]
            token = page.token
            if not token:
                break
    return found[:limit]


def matches(run: Run, pattern: str) -> bool:
    """Whether a run's name, model type or family is like the pattern."""
    if not pattern:
        return True
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    names = (run.info.run_name, run.data.tags.get("asr_lab.model_type"), run.data.tags.get("asr_lab.family"))
    return any(fnmatch.fnmatchcase((name or "").lower(), glob) for name in names)


def one(wanted: str) -> Run:
    """The run of this id, of an id that begins so, or of this name; raises `AsrLabError` when not exactly one is."""
    runs = find()
    hits = [run for run in runs if run.info.run_id == wanted or run.info.run_name == wanted]
    hits = hits or [run for run in runs if run.info.run_id.startswith(wanted)]
    hits = hits or [run for run in runs if matches(run, wanted)]
    if len(hits) != 1:
        names = listing((run.info.run_name for run in (hits or runs)), 8)
        what = f"no run {wanted!r}" if not hits else f"{len(hits)} runs are called like {wanted!r}"
        raise AsrLabError(what, allowed=names or "there are no runs yet", next_command="asr-lab list")
    return hits[0]


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a run: `run`, `id`, `family`, `status`, `started`, `seconds`, its deciding metric and its value."""
    rows = []
    for run in runs:
        family = run.data.tags.get("asr_lab.family", "")
        metric = DECIDES.get(family, "")
        end = run.info.end_time or run.info.start_time
        rows.append(
            {
                "run": run.info.run_name,
                "id": run.info.run_id[:8],
                "family": family,
                "status": run.info.status,
                "started": pd.Timestamp(run.info.start_time, unit="ms").strftime("%Y-%m-%d %H:%M"),
                "seconds": round((end - run.info.start_time) / 1000, 1),
                "metric": metric,
                "value": run.data.metrics.get(metric),
            }
        )
    columns = ["run", "id", "family", "status", "started", "seconds", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def comparison(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a run: the parameters that differ between the runs, then the metrics that matter for their families.

    Sorted by the deciding metric of the first run's family, best first.
    """
    if not runs:
        return pd.DataFrame()
    families = list(dict.fromkeys(run.data.tags.get("asr_lab.family", "") for run in runs))
    metrics = list(dict.fromkeys(name for family in families for name in SHOWN.get(family, ())))
    metrics = [name for name in metrics if any(name in run.data.metrics for run in runs)]
    differing = _differing_params(runs)
    rows: list[dict[str, Any]] = []
    for run in runs:
        row: dict[str, Any] = {"run": run.info.run_name}
        if len(families) > 1:
            row["family"] = run.data.tags.get("asr_lab.family", "")
        row |= {name: run.data.params.get(name, "") for name in differing}
        row |= {name: run.data.metrics.get(name) for name in metrics}
        rows.append(row)
    table = pd.DataFrame(rows)
    decides = next((DECIDES[family] for family in families if DECIDES.get(family) in metrics), "")
    if decides:
        table = table.sort_values(decides, ascending=direction(decides) != "higher", na_position="last")
    return table.reset_index(drop=True)


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


def ways(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a run: the way it was trained (scratch, fine-tune, adapter), its error rates, and what it cost."""
    rows = []
    for run in runs:
        if run.data.tags.get("asr_lab.family") == "adapter":
            way = "adapter"
        else:
            way = "fine-tune" if run.data.params.get("model.pretrained") else "scratch"
        rows.append({"run": run.info.run_name, "way": way, **{name: run.data.metrics.get(name) for name in _COSTS}})
    return pd.DataFrame(rows)


def curves(runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """Every logged value of the metrics: `run, metric, step, seconds` (since the run began), `value`."""
    tracking = client()
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


def log_comparison(runs: Sequence[Run], table: pd.DataFrame, figure: Any) -> None:
    """Put a comparison's table and figure among the artifacts of each of its runs, under `compare/`."""
    tracking = client()
    for run in runs:
        tracking.log_text(run.info.run_id, table.to_csv(index=False), "compare/table.csv")
        tracking.log_figure(run.info.run_id, figure, "compare/curves.png")


def _differing_params(runs: Sequence[Run]) -> list[str]:
    """Config keys (they have a dot) whose values are not the same in all runs."""
    keys = sorted({key for run in runs for key in run.data.params if "." in key})
    return [key for key in keys if len({run.data.params.get(key) for run in runs}) > 1]


def not_comparable(runs: Sequence[Run]) -> str:
    """Why no winner can be called among the runs: other data, or another text normaliser; "" when one can."""
    for what, tag in (("data", "asr_lab.data.test"), ("data", "asr_lab.data.val"), ("text", "asr_lab.text")):
        values = {run.data.tags.get(tag) for run in runs}
        if len(values) > 1:
            split = f" ({tag.rsplit('.', 1)[-1]})" if what == "data" else " normalisation"
            return f"these runs were evaluated on different {what}{split}: no winner is called"
    return ""


def best_of(table: pd.DataFrame) -> dict[str, str]:
    """Metric -> the name of the run that is best in it, for every column that has a better side."""
    best: dict[str, str] = {}
    for column in table.columns:
        side = direction(column)
        if side == "neither" or not pd.api.types.is_numeric_dtype(table[column]) or table[column].isna().all():
            continue
        row = table[column].idxmin() if side == "lower" else table[column].idxmax()
        best[column] = str(table.loc[row, "run"])
    return best


def details(run: Run) -> dict[str, dict[str, Any]]:
    """A run in sections: what it is, what it was given, its figures, its data, where it comes from."""
    tags, params = run.data.tags, run.data.params
    about = {
        key: tags[f"asr_lab.{key}"]
        for key in (
            "family",
            "kind",
            "model_type",
            "speaker",
            "base",
            "signature",
            "text",
            "error",
            "resumed_from",
        )
        if tags.get(f"asr_lab.{key}")
    }
    origin = {
        key: tags[f"asr_lab.{key}"]
        for key in ("command", "git_sha", "dirty", "versions", "hardware")
        if tags.get(f"asr_lab.{key}")
    }
    inputs = run.inputs.dataset_inputs if run.inputs else []
    data = {
        next((tag.value for tag in one_input.tags if tag.key == "mlflow.data.context"), "data"): (
            f"{one_input.dataset.name}, digest {one_input.dataset.digest}"
        )
        for one_input in inputs
    }
    outputs = run.outputs.model_outputs if run.outputs else []
    return {
        "about": about,
        "config": {key: value for key, value in sorted(params.items()) if "." in key},
        "metrics": dict(sorted(run.data.metrics.items())),
        "data": data,
        "models": {output.model_id: f"models:/{output.model_id}" for output in outputs},
        "origin": origin,
    }
