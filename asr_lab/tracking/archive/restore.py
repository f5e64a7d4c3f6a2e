"""Restore runs: undelete or unarchive them on the store, or import them from a bundle.

A run from a bundle gets a new id, since MLflow assigns ids. The old id stays in the tag `asr_lab.restored_from`, by
which commands and a second call find the run.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.utils.mlflow_tags import MLFLOW_USER

from asr_lab.errors import AsrLabError
from asr_lab.system import processes
from asr_lab.tracking import artifacts
from asr_lab.tracking.archive import archive, bundle
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.queries.find import RunNotFoundError, find_run
from asr_lab.tracking.run_index import Record, models_of, record_of
from asr_lab.tracking.store import experiment_id, experiment_ids, explain_store_errors, search_runs, tracking_uri
from asr_lab.tracking.tags import ARCHIVED, CLEANUP, PARENT, PROCESS, RESTORED_FROM, RESTORING, SIGNATURE, SPOOL

_OF_A_PROCESS = (PROCESS, SIGNATURE, SPOOL)
"""Tags by which interrupted runs are resumed; restored last, when the run has ended."""
_IS_THERE = "is there: nothing to do"
_NOT_RESTORED = (ARCHIVED, CLEANUP, RESTORING, RESTORED_FROM, "mlflow.runName")


@dataclass(frozen=True)
class Restored:
    """Result of restoring a run."""

    run_id: str
    name: str
    how: str
    registered: tuple[str, ...] = ()
    """Its registered versions when it was archived; the registry is not changed."""


@dataclass(frozen=True)
class Planned:
    """A run to restore."""

    name: str
    what: str
    """What will happen to it."""
    run: Record | None = None
    location: str = ""
    """Of the bundle of a run that is not on the store."""
    is_there: bool = False
    """Whether there is nothing to do."""


def plan(client: MlflowClient, words: Iterable[str]) -> list[Planned]:
    """Return what `restore` will do with runs, by their names or ids, and with bundles; changes nothing.

    A word that names a run means the run, even if a file has the same name. Raises `AsrLabError` as `restore` does.
    """
    planned = [_plan(client, word) for word in words]
    return list({one.run.run_id if one.run else one.location: one for one in planned}.values())


def _plan(client: MlflowClient, word: str) -> Planned:
    if word.endswith(bundle.SUFFIX) or "://" in word or ("/" in word and Path(word).is_file()):
        return _plan_bundle(client, word)
    try:
        run = find_run(word, deleted=True)
    except RunNotFoundError as error:
        if Path(word).is_file():
            return _plan_bundle(client, word)
        error.hint = "a run that was erased from the store is restored from its bundle: asr-lab restore BUNDLE"
        raise
    return _plan_run(client, record_of(run))


def _plan_run(client: MlflowClient, run: Record) -> Planned:
    states = _hidden(client, run)
    what = f"will no longer be {' and '.join(states)}" if states else _IS_THERE
    return Planned(str(run), what, run, is_there=not states and CLEANUP not in run.tags)


def _plan_bundle(client: MlflowClient, word: str) -> Planned:
    if "://" in word:
        if not archive.bundle_exists(word):
            raise AsrLabError("no such bundle", where=word)
        name = word.rpartition("/")[2].removesuffix(bundle.SUFFIX)  # its content is only read once
        return Planned(name, f"will be restored from {word}", location=word)
    about, location = bundle.verify(Path(word)), str(Path(word).resolve())
    earlier = _earlier(client, about["run_id"])
    if earlier and RESTORING not in earlier.data.tags:
        return _plan_run(client, record_of(earlier))
    what = "will be completed" if earlier else "will be restored as a new run"
    return Planned(f"{about['name']} ({about['run_id'][:8]})", f"{what} from {location}", location=location)


def restore(client: MlflowClient, planned: Planned) -> Restored:
    """Restore a deleted or archived run, or one from its bundle."""
    if planned.run:
        return back(client, planned.run)
    with archive.local_copy(planned.location) as path:
        return from_bundle(client, path, planned.location)


def _hidden(client: MlflowClient, run: Record) -> list[str]:
    """Return which of `deleted` and `archived` a run is; raises `AsrLabError` if it cannot be brought back."""
    if run.purge_begun:
        raise AsrLabError(
            f"some of {run.name} is erased already",
            hint="if it was archived, asr-lab restore BUNDLE brings it back; asr-lab cleanup --purge erases the rest",
        )
    if RESTORING in run.tags:
        raise AsrLabError(f"{run.name} is half restored", next_command="asr-lab restore BUNDLE, the one it came from")
    with artifacts.explain_artifact_errors(f"{run.name} cannot be restored"):
        experiment = client.get_experiment(run.experiment_id)
        if experiment.lifecycle_stage == "deleted":
            raise AsrLabError(
                f"the experiment {experiment.name} of {run.name} is deleted",
                next_command=f"mlflow experiments restore -x {run.experiment_id}",
            )
    return [state for state, holds in (("deleted", run.deleted), ("archived", ARCHIVED in run.tags)) if holds]


def back(client: MlflowClient, run: Record) -> Restored:
    """Undelete and unarchive a run that is on the store."""
    how = [f"is no longer {state}" for state in _hidden(client, run)]
    with artifacts.explain_artifact_errors(f"{run.name} cannot be restored"):
        if run.deleted:
            client.restore_run(run.run_id)
        if ARCHIVED in run.tags:
            client.delete_tag(run.run_id, ARCHIVED)
        if CLEANUP in run.tags:
            client.delete_tag(run.run_id, CLEANUP)
    return Restored(run.run_id, run.name, " and ".join(how) or _IS_THERE)


def from_bundle(client: MlflowClient, path: Path, location: str) -> Restored:
    """Restore a run from a bundle: all metric points, times, params, tags, data, artifacts and models.

    A run that still exists or was restored before is reused; an interrupted restore is finished. Raises `AsrLabError`
    for an invalid bundle, before anything is changed.
    """
    refuse_moved(tracking_uri())
    with tempfile.TemporaryDirectory() as folder:
        about = bundle.extract(path, Path(folder))
        original = f"{about['run_id']} sha256:{bundle.digest(path)}"
        with artifacts.explain_artifact_errors(f"{about['name']} cannot be restored"):
            earlier = _earlier(client, about["run_id"])
            if earlier and RESTORING not in earlier.data.tags:
                return back(client, record_of(earlier))
            run_id = earlier.info.run_id if earlier else _create(client, about, original)
            if earlier:
                _take_over(client, earlier)
            _fill(client, run_id, about, Path(folder))
            archive.record_location(client, client.get_run(run_id), location)
            client.delete_tag(run_id, RESTORING)
    registered = tuple(dict.fromkeys(about["registered"].values()))
    return Restored(run_id, about["name"], "finished" if earlier else "restored", registered)


def _earlier(client: MlflowClient, original: str) -> Run | None:
    """Return the original run if it is intact, else the run restored from its bundle."""
    with explain_store_errors("the runs cannot be read"):
        experiments = experiment_ids(client)
        condition = f"attributes.run_id = '{original}'"
        for run in search_runs(client, experiments, condition, ViewType.ALL):
            if not record_of(run).purge_begun:
                return run
        condition = f"tags.`{RESTORED_FROM}` LIKE '{original}%'"
        return next(search_runs(client, experiments, condition, ViewType.ALL), None)


def _take_over(client: MlflowClient, run: Run) -> None:
    mark, own = run.data.tags[RESTORING], processes.process_mark()
    if mark != own and mark.split("|")[0] == own.split("|")[0] and not processes.is_gone(mark):
        raise AsrLabError(f"{run.info.run_name} is being restored by another process", where=mark)
    if run.info.lifecycle_stage == "deleted":
        client.restore_run(run.info.run_id)
    client.set_tag(run.info.run_id, RESTORING, own)


def _create(client: MlflowClient, about: dict[str, Any], original: str) -> str:
    tags = {RESTORED_FROM: original, RESTORING: processes.process_mark(), MLFLOW_USER: about["user_id"]}
    made = client.create_run(
        experiment_id(client, about["experiment"]), about["start_time"], tags=tags, run_name=about["name"]
    )
    return str(made.info.run_id)


def _fill(client: MlflowClient, run_id: str, about: dict[str, Any], folder: Path) -> None:
    """Import everything of a bundle into a run; existing data are not changed."""
    for params in _chunks([Param(key, value) for key, value in about["params"].items()], 100):
        client.log_batch(run_id, params=params)
    tags = [RunTag(key, value) for key, value in about["tags"].items() if key not in _NOT_RESTORED]
    for some in _chunks([tag for tag in tags if tag.key not in _OF_A_PROCESS], 100):
        client.log_batch(run_id, tags=some)
    for metrics in _chunks(list(_points(folder / bundle.METRICS)), 1000):
        client.log_batch(run_id, metrics=metrics)
    inputs = [
        DatasetInput(
            Dataset(**{key: one[key] for key in archive.DATASET_FIELDS}),
            [InputTag(*tag) for tag in one["tags"].items()],
        )
        for one in about["datasets"]
    ]
    if inputs:
        client.log_inputs(run_id, inputs)
    if (folder / "artifacts").is_dir():
        client.log_artifacts(run_id, str(folder / "artifacts"))
    models = {old: _model(client, run_id, about, folder / "models" / old) for old in about["models"]}
    made = [(models.get(one["model_id"], ""), one["step"]) for one in about["outputs"]]
    outputs = [LoggedModelOutput(model_id, step) for model_id, step in made if model_id]
    known = record_of(client.get_run(run_id)).models
    if new := [output for output in outputs if output.model_id not in known]:
        client.log_outputs(run_id, new)
    _relate(client, run_id, about)
    client.set_terminated(run_id, about["status"], about["end_time"])
    client.log_batch(run_id, tags=[tag for tag in tags if tag.key in _OF_A_PROCESS])


def _points(path: Path) -> Iterator[Metric]:
    table = pd.read_parquet(path)
    for row in table.itertuples(index=False):
        yield Metric(row.key, math.nan if pd.isna(row.value) else row.value, row.timestamp, row.step)


def _model(client: MlflowClient, run_id: str, about: dict[str, Any], folder: Path) -> str:
    """Create or complete a logged model of the bundle, and return its new id; metrics of other runs are skipped."""
    model = json.loads((folder / "model.json").read_text())
    experiment = client.get_run(run_id).info.experiment_id
    made = next(
        (one for one in models_of(client, experiment, run_id) if one.tags.get(RESTORED_FROM) == model["model_id"]), None
    ) or client.create_logged_model(
        experiment,
        model["name"],
        run_id,
        tags=model["tags"] | {RESTORED_FROM: model["model_id"]},
        params=model["params"],
        model_type=model["model_type"],
    )
    if (folder / "files").is_dir():
        client.log_model_artifacts(made.model_id, str(folder / "files"))
    known = {(one.key, one.timestamp, one.step) for one in made.metrics or []}
    points = [
        Metric(
            one["key"],
            one["value"],
            one["timestamp"],
            one["step"],
            model_id=made.model_id,
            dataset_name=one["dataset_name"],
            dataset_digest=one["dataset_digest"],
        )
        for one in model["metrics"]
        if one["run_id"] == about["run_id"] and (one["key"], one["timestamp"], one["step"]) not in known
    ]
    for metrics in _chunks(points, 1000):
        client.log_batch(run_id, metrics=metrics)
    if model["status"] in ("READY", "FAILED"):
        client.finalize_logged_model(made.model_id, model["status"])
    return str(made.model_id)


def _relate(client: MlflowClient, run_id: str, about: dict[str, Any]) -> None:
    """Link a restored run to its parent and children, if these were restored too."""
    experiments = experiment_ids(client)
    if parent := about["tags"].get(PARENT):
        for restored in search_runs(client, experiments, f"tags.`{RESTORED_FROM}` LIKE '{parent}%'"):
            client.set_tag(run_id, PARENT, restored.info.run_id)
    for child in search_runs(client, experiments, f"tags.`{PARENT}` = '{about['run_id']}'"):
        client.set_tag(child.info.run_id, PARENT, run_id)


def _chunks(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
