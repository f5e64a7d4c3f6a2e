"""The saved view of an experiment's runs: what the MLflow UI shows first.

A view is a tag of the experiment. The form is that of MLflow 3.15 and later (seen in 3.17): a JSON object of the name,
two times, and the state of the page; `#/experiments/ID/runs?viewStateShareKey=KEY` opens it, the menu Views lists it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.utils.mlflow_tags import MLFLOW_EXPERIMENT_PRIMARY_METRIC_GREATER_IS_BETTER as HIGHER_IS_BETTER
from mlflow.utils.mlflow_tags import MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME as PRIMARY_METRIC

from asr_lab.families import FAMILIES, deciding, logged, shown
from asr_lab.metrics.catalog import CURVES, direction, of_best_epoch
from asr_lab.tracking.queries.runs import family_of
from asr_lab.tracking.store import explain_store_errors
from asr_lab.tracking.tags import NOTE

KEY = "asr_lab"
"""Of our view in addresses."""
TAG = f"mlflow.sharedViewState.{KEY}"
EXPERIMENT_KIND = "mlflow.experimentKind"
_MADE_MS = 1_796_000_000_000  # the same in every tag, so that only a changed view is written again
_MOST_METRICS = 12  # columns of one table
_RESULT = "attributes.`Description`"  # its first line is the result
_LOOP_CURVES = ("val/cer", "train/lr", "grad_norm")
_SYSTEM = (
    "cpu_utilization_percentage",
    "system_memory_usage_megabytes",
    "gpu_0_utilization_percentage",
    "gpu_0_memory_usage_megabytes",
)


def describe(client: MlflowClient, experiment: Experiment, families: Sequence[str]) -> None:
    """Write the view and what else the UI reads from an experiment with runs of these families.

    What people set there themselves, such as its description, is not changed; our view is kept up to date.
    """
    decides = next(filter(None, map(deciding, families)), "")
    once = {EXPERIMENT_KIND: "custom_model_development", NOTE: _note(families, decides)}
    if decides:
        once |= {PRIMARY_METRIC: of_best_epoch(decides), HIGHER_IS_BETTER: str(direction(decides) == "higher")}
    former = {PRIMARY_METRIC: decides}  # what we wrote before the best epoch had names of its own
    tags = experiment.tags
    missing = {key: value for key, value in once.items() if tags.get(key) in {None, former.get(key)} - {value}}
    view = saved_view(families)
    for key, value in (missing | ({TAG: view} if experiment.tags.get(TAG) != view else {})).items():
        client.set_experiment_tag(experiment.experiment_id, key, value)


def describe_new(client: MlflowClient, experiment: Experiment, family: str) -> None:
    """Write the view of an experiment that has none."""
    if TAG not in experiment.tags:
        describe(client, experiment, [family])


def describe_all(client: MlflowClient, runs: Iterable[Run]) -> None:
    """Write the views of the experiments that the runs are in."""
    families: dict[str, dict[str, None]] = {}
    for run in runs:
        families.setdefault(run.info.experiment_id, {})[family_of(run)] = None
    with explain_store_errors("the views of the MLflow UI cannot be written"):
        for id, names in families.items():
            describe(client, client.get_experiment(id), sorted(names))


def saved_view(families: Sequence[str]) -> str:
    """Return the tag's value: metrics of the families as columns, curves before sizes, the best run first."""
    state = "deflate;" + base64.b64encode(zlib.compress(json.dumps(_state(families)).encode())).decode()
    return json.dumps({"name": "asr-lab", "createdAt": _MADE_MS, "updatedAt": _MADE_MS, "state": state})


def metric_columns(families: Sequence[str]) -> list[str]:
    """Return the metrics of a table of runs: each family's deciding one with its interval, then what it shows."""
    first = [name for family in families if (name := deciding(family))]
    bounds = {f"{name}_{bound}" for name in first for bound in ("low", "high")}
    known = {name for family in families for name in logged(family)}
    names = [part for name in first for part in (name, *sorted(bounds & known & _bounds(name), reverse=True))]
    names += [name for family in families for name in shown(family)]
    return list(dict.fromkeys(map(of_best_epoch, names)))[:_MOST_METRICS]


def _bounds(name: str) -> set[str]:
    return {f"{name}_low", f"{name}_high"}


def _state(families: Sequence[str]) -> dict[str, Any]:
    metrics = metric_columns(families)
    figures = [f"metrics.`{name}`" for name in metrics]
    behind = [f"attributes.`{name}`" for name in ("Dataset", "Models", "User", "Source")]
    decides = next(filter(None, map(deciding, families)), "")
    sections, charts = _charts(families, metrics)
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{of_best_epoch(decides)}`" if decides else "attributes.start_time",
        "orderByAsc": direction(decides) == "lower",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [_RESULT, *figures, *behind],
        "columnOrder": [_RESULT, *figures, "duration", *behind],
        "columnWidths": {_RESULT: 330} | dict.fromkeys(figures, 95),  # pixels
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _charts(families: Sequence[str], metrics: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return sections and charts: curves, results, then, folded, cost and the machine."""
    known = list(dict.fromkeys(name for family in families for name in logged(family)))
    decides = [name for family in families if (name := deciding(family))]
    curves = [name for name in dict.fromkeys([*decides, *CURVES, *_LOOP_CURVES]) if name in _OVER_TIME & set(known)]
    results = [name for name in metrics if name not in curves and not name.endswith(_NO_RESULTS)]
    cost = [name for name in known if name.startswith(("model/", "perf/", "epoch_time"))]
    content = {
        "Curves": (curves, "LINE", True),
        "Results": (results, "BAR", True),
        "Size and cost": (cost, "BAR", False),
        "System metrics": ([f"system/{name}" for name in _SYSTEM], "LINE", False),
    }
    sections, charts = [], []
    for title, (names, kind, is_open) in content.items():
        if names:
            id = f"{KEY}-{title.lower().replace(' ', '-')}"
            sections.append(
                {"uuid": id, "name": title, "display": is_open, "isReordered": False, "deleted": False,
                 "isGenerated": title == "System metrics"}
            )  # fmt: skip
            charts += [_chart(name, kind, id) for name in names]
    return sections, charts


_NO_RESULTS = ("_low", "_high", "/size_mb", "/trainable_params")
_OVER_TIME = {*CURVES, *_LOOP_CURVES}


def _chart(metric: str, kind: str, section: str) -> dict[str, Any]:
    line = {
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
    return {
        "uuid": f"{section}-{metric.replace('/', '-')}",
        "type": kind,
        "runsCountToCompare": 10,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": True,
        "displayName": metric,
        "metricKey": metric,
        **(line if kind == "LINE" else {}),
    }


def _note(families: Sequence[str], decides: str) -> str:
    known = [name for name in families if name in FAMILIES]
    ranked = f", ranked by {of_best_epoch(decides)} ({direction(decides)} is better)" if decides else ""
    return f"Runs of asr-lab: {', '.join(known)}{ranked}. The view asr-lab (menu Views) shows their figures."
