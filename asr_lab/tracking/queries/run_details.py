"""Rows for a list of runs, and the details of one: configuration, metrics, lineage."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

import pandas as pd
from mlflow.entities import Run

from asr_lab.families import FAMILIES, config_class, deciding
from asr_lab.metrics.catalog import BEST_STEP, SYSTEM, VALIDATED, direction, of_best_epoch
from asr_lab.reports.numbers import not_finite
from asr_lab.system import processes
from asr_lab.system.times import local_time
from asr_lab.tracking.artifacts import folder_size, local_folder
from asr_lab.tracking.queries.filters import equals
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.run_index import read_registrations
from asr_lab.tracking.store import client
from asr_lab.tracking.tags import (
    ARCHIVED,
    BASE,
    CONTINUED_BY,
    FAMILY,
    KEEP,
    KIND,
    PARENT,
    PROCESS,
    RESUMED_FROM,
)

CUT_OFF = "cut off"
_COLUMNS = ("run", "id", "family", "kind", "state", "started", "seconds", "metric", "value", "marks", "bytes")


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per run: `run, id, family, kind, state, started` (ISO 8601, local time), `seconds` (until now
    while it runs), its deciding `metric` and `value`, `marks` (kept, archived, registered names), `bytes` on this disk
    (missing: remote).
    """
    versions = registered_names([run.info.run_id for run in runs])
    rows = []
    for run in runs:
        tags, family = run.data.tags, run.data.tags.get(FAMILY, "")
        metrics = metrics_of(run)
        metric = deciding(family, metrics) or deciding(family)
        rows.append(
            {
                "run": run.info.run_name,
                "id": run.info.run_id[:8],
                "family": family,
                "kind": tags.get(KIND, ""),
                "state": state(run),
                "started": local_time(run.info.start_time, "T"),
                "seconds": round(seconds(run), 1),
                "metric": metric,
                "value": metrics.get(metric),
                "marks": ", ".join([*_marks(run), *versions.get(run.info.run_id, ())]),
                "bytes": size_on_disk(run),
            }
        )
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.astype({"value": float, "bytes": "Int64"})


def state(run: Run) -> str:
    """Return `running`, `finished`, `failed`, `killed`, or `cut off`: RUNNING although its process is gone."""
    if run.info.status == "RUNNING" and processes.is_gone(run.data.tags.get(PROCESS, "")):
        return CUT_OFF
    return str(run.info.status).lower()


def seconds(run: Run) -> float:
    """Return the duration of a run, until now while it runs; NaN if it was cut off."""
    if run.info.end_time:
        return float(run.info.end_time - run.info.start_time) / 1000
    return float("nan") if state(run) == CUT_OFF else time.time() - run.info.start_time / 1000


def _marks(run: Run) -> list[str]:
    marks = [word for tag, word in ((KEEP, "kept"), (ARCHIVED, "archived")) if tag in run.data.tags]
    return marks + (["deleted"] if run.info.lifecycle_stage == "deleted" else [])


def registered_names(run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return run id -> its registered versions, as `NAME/3@champion`, in the order of names and versions."""
    by_id = read_registrations(client(), run_ids).by_id if run_ids else {}
    return {
        run_id: [
            str(one).replace(" ", "") for one in sorted(by_id[run_id], key=lambda one: (one.name, int(one.version)))
        ]
        for run_id in run_ids
        if run_id in by_id
    }


def size_on_disk(run: Run) -> int | None:
    """Return the bytes of a run's artifacts and logged models; None if they are not local."""
    folder = local_folder(run.info.artifact_uri)
    if folder is None or not folder.is_dir():
        return None
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [folder.parents[1] / "models" / output.model_id for output in outputs]  # where MLflow puts them
    return sum(folder_size(path) for path in (folder, *models))


def details(run: Run) -> dict[str, dict[str, Any]]:
    """Return the sections of `asr-lab show`: about, differences from the defaults, configuration, metrics, lineage
    (data, base, parent, children, models and runs based on them), and origin.
    """
    tags, metrics = run.data.tags, metrics_of(run)
    config = {key: value for key, value in sorted(run.data.params.items()) if "." in key}
    doubles = {of_best_epoch(name) for name in VALIDATED} if BEST_STEP in metrics else set()
    shown = sorted(pair for pair in metrics.items() if not pair[0].startswith(SYSTEM) and pair[0] not in doubles)
    took = seconds(run)
    about: dict[str, Any] = {"state": state(run), "started": local_time(run.info.start_time, "T")}
    about |= {"took": None if took != took else round(took, 1), "bytes": size_on_disk(run)}
    return {
        "about": about | _own(tags, _ABOUT),
        "differs": differing(run),
        "config": config,
        "metrics": {name: value if isfinite(value) else not_finite(value) for name, value in shown},
        "lineage": _data(run) | _own(tags, ("base",)) | relatives(run),
        "origin": _own(tags, ("command", "git_sha", "dirty", "versions", "hardware")),
    }


_ABOUT = ("family", "kind", "model_type", "speaker", "signature", "text", "keep", "archived", "error")


def _own(tags: dict[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: tags[f"asr_lab.{name}"] for name in names if tags.get(f"asr_lab.{name}")}


def differing(run: Run) -> dict[str, str]:
    """Return the parameters that differ from the defaults of the run's recipe; empty if it is unknown."""
    from asr_lab.config.identity import defaults

    name = run.data.params.get("recipe", "")
    if name not in FAMILIES:
        return {}
    usual = {key: _text(value) for key, value in defaults(config_class(name)).items()}
    own = ((key, value) for key, value in sorted(run.data.params.items()) if "." in key)  # others are `mlflow run`'s
    return {key: value for key, value in own if usual.get(key) != value}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _data(run: Run) -> dict[str, str]:
    datasets = {}
    for used in run.inputs.dataset_inputs if run.inputs else []:
        split = next((tag.value for tag in used.tags if tag.key == "mlflow.data.context"), "data")
        datasets[f"{split} data"] = f"{used.dataset.name}, digest {used.dataset.digest}"
    return datasets


def relatives(run: Run) -> dict[str, str]:
    """Return the runs and models that this run is derived from, or that are derived from it."""
    from asr_lab.tracking.queries import runs

    run_id, tags, related = run.info.run_id, run.data.tags, dict[str, str]()
    for tag, label in ((PARENT, "part of"), (RESUMED_FROM, "resumed from"),
                       (CONTINUED_BY, "continued by")):  # fmt: skip
        if other := tags.get(tag):
            related[label] = other[:8]
    children = runs.find(where=f"tags.`{PARENT}` = '{run_id}'")
    if children:
        related["children"] = _counted(children)
    outputs = run.outputs.model_outputs if run.outputs else []
    for number, output in enumerate(outputs, 1):
        related["model" if len(outputs) == 1 else f"model {number}"] = f"models:/{output.model_id}"
    versions = registered_names([run_id]).get(run_id, [])
    if versions:
        related["registered"] = ", ".join(versions)
    bases = [f"models:/{version.split('@')[0]}" for version in versions]
    based = [other for base in bases for other in runs.find(where=equals(f"tags.`{BASE}`", base))]
    if used := [other for other in based if other.data.tags[BASE] in bases]:
        related["base of"] = _counted(used)
    return related


def _counted(runs: Sequence[Run]) -> str:
    states = [state(run) for run in runs]
    counts = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    names = ", ".join(str(run.info.run_name) for run in runs[:5])
    return f"{len(runs)} ({counts}): {names}{', ...' if len(runs) > 5 else ''}"


def best_point(points: Sequence[float], metric: str) -> int:
    """Return the position of the best value of a curve; the last if the metric has no direction."""
    side = direction(metric)
    finite = [place for place, value in enumerate(points) if isfinite(value)]
    if side == "neither" or not finite:
        return len(points) - 1
    return (min if side == "lower" else max)(finite, key=points.__getitem__)
