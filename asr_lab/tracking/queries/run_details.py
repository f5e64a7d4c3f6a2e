"""The details of a run: configuration, metrics, lineage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from mlflow.entities import Run

from asr_lab.families import FAMILIES, config_class
from asr_lab.metrics.catalog import BEST_STEP, SYSTEM, VALIDATED, direction, of_best_epoch
from asr_lab.reports.numbers import not_finite
from asr_lab.system.times import local_time
from asr_lab.tracking.queries.filters import equals
from asr_lab.tracking.queries.overview import registered_names, seconds, size_on_disk, state
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.tags import (
    BASE,
    CONTINUED_BY,
    PARENT,
    RESUMED_FROM,
)


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
    from asr_lab.config.identity import defaults, param_text

    name = run.data.params.get("recipe", "")
    if name not in FAMILIES:
        return {}
    usual = {key: param_text(value) for key, value in defaults(config_class(name)).items()}
    own = ((key, value) for key, value in sorted(run.data.params.items()) if "." in key)  # others are `mlflow run`'s
    return {key: value for key, value in own if usual.get(key) != value}


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
