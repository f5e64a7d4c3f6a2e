"""Archive runs: one bundle per run, local or in an object store, verified before the run is marked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from asr_lab.errors import AsrLabError
from asr_lab.tracking import artifacts
from asr_lab.tracking.archive import bundle
from asr_lab.tracking.run_index import Registrations, models_of, record_of
from asr_lab.tracking.tags import ARCHIVED, BUNDLES, RESTORING

_DIGEST_MARK = "#sha256="


def archive(client: MlflowClient, run: Run, to: str, held: Registrations) -> tuple[str, int]:
    """Write and verify the bundle of a run, mark the run, and return (location, bytes).

    `to` is a folder or a URI of MLflow's artifact stores (`s3://bucket/prefix`). Raises `AsrLabError` if the run
    cannot be archived, or the bundle cannot be written or verified.
    """
    refuse_unfinished(run)
    location = location_of(run, to)
    name = bundle_name(run)
    record_location(client, run, location)
    if "://" in to:
        with tempfile.TemporaryDirectory() as staging:
            local = Path(staging) / name
            _write(client, run, local, held)
            digest, size = bundle.digest(local), local.stat().st_size
            with artifacts.explain_artifact_errors("the bundle cannot be stored", to):
                artifacts.repository(to).log_artifact(str(local))
            local.unlink()
            with local_copy(location) as copy:
                _compare(copy, digest, location)
    else:
        local = Path(location)
        _write(client, run, local, held)
        digest, size = bundle.digest(local), local.stat().st_size
    with artifacts.explain_artifact_errors(f"{run.info.run_name} cannot be marked as archived"):
        client.set_tag(run.info.run_id, ARCHIVED, format_mark(location, digest))
    return location, size


def refuse_unfinished(run: Run) -> None:
    """Raise `AsrLabError` if a run is still running, partly erased, or half restored."""
    if run.info.status in ("RUNNING", "SCHEDULED"):
        raise AsrLabError(
            f"{run.info.run_name} is {run.info.status}: only finished runs can be archived",
            hint="one whose process is gone: asr-lab cleanup --stale-running, then restore",
        )
    record = record_of(run)
    if record.purge_begun or RESTORING in run.data.tags:
        half = "some of it is erased already" if record.purge_begun else "it is half restored"
        raise AsrLabError(f"{run.info.run_name} cannot be archived: {half}")


def location_of(run: Run, to: str) -> str:
    """Return where the bundle of a run is written."""
    return f"{to.rstrip('/')}/{bundle_name(run)}" if "://" in to else str(Path(to).resolve() / bundle_name(run))


def bundle_name(run: Run) -> str:
    """Return `<run name>-<first 8 of the id>.tar.zst`, valid on every file system."""
    stem = (
        run.info.run_name
        if run.info.run_name.endswith(run.info.run_id[:8])
        else (f"{run.info.run_name}-{run.info.run_id[:8]}")
    )
    return safe_name(stem) + bundle.SUFFIX


def safe_name(text: str) -> str:
    """Return a run's name as a valid file name, 150 characters at most."""
    return "".join(sign if sign.isalnum() or sign in "-_.=+" else "_" for sign in text).lstrip(".")[-150:]


def record_location(client: MlflowClient, run: Run, location: str) -> None:
    """Tag a run with the location of its bundle, before the bundle is written."""
    with artifacts.explain_artifact_errors(f"{run.info.run_name} cannot be marked as archived"):
        client.set_tag(run.info.run_id, BUNDLES, "\n".join(dict.fromkeys([location, *locations(run.data.tags)])))


def locations(tags: Mapping[str, str]) -> list[str]:
    """Return the locations that a run was archived to, newest first; bundles may have been moved."""
    newest = [parse_mark(tags[ARCHIVED])[0]] if ARCHIVED in tags else []
    return list(dict.fromkeys(newest + tags.get(BUNDLES, "").splitlines()))


def format_mark(location: str, digest: str) -> str:
    """Return the tag of an archived run: location and SHA-256 of its bundle."""
    return f"{location}{_DIGEST_MARK}{digest}"


def parse_mark(tag: str) -> tuple[str, str]:
    """Return (location, SHA-256) from the tag of an archived run."""
    location, _, digest = tag.rpartition(_DIGEST_MARK)
    return (location, digest) if location else (tag, "")


def _compare(path: Path, digest: str, location: str) -> None:
    if digest and bundle.digest(path) != digest:
        raise AsrLabError("the bundle has changed: its checksum differs", where=location)


@contextmanager
def local_copy(location: str, digest: str = "") -> Iterator[Path]:
    """Yield a local copy of a bundle; raises `AsrLabError` if it does not exist or its digest differs."""
    if "://" not in location:
        path = Path(location)
        if not path.is_file():
            raise AsrLabError("no such bundle", where=location)
        _compare(path, digest, location)
        yield path
        return
    folder, _, name = location.rpartition("/")
    with tempfile.TemporaryDirectory() as staging:
        with artifacts.explain_artifact_errors("the bundle cannot be fetched", location):
            path = Path(artifacts.repository(folder).download_artifacts(name, staging))
        _compare(path, digest, location)
        yield path


def bundle_exists(location: str) -> bool:
    """Return whether a bundle exists; raises `AsrLabError` if its location cannot be read."""
    if "://" not in location:
        return Path(location).is_file()
    folder, _, name = location.rpartition("/")
    return location in artifacts.list_files(folder, name)


def delete(location: str) -> None:
    """Delete a bundle, if it exists."""
    if "://" not in location:
        with artifacts.explain_artifact_errors("the bundle cannot be deleted", location):
            Path(location).unlink(missing_ok=True)
        return
    folder, _, name = location.rpartition("/")
    with artifacts.explain_artifact_errors("the bundle cannot be deleted", location):
        artifacts.repository(folder).delete_artifacts(name)


def _write(client: MlflowClient, run: Run, path: Path, held: Registrations) -> None:
    with (
        artifacts.explain_artifact_errors(f"{run.info.run_name} cannot be archived"),
        tempfile.TemporaryDirectory() as staging,
        bundle.writing(path) as writer,
    ):
        models = list(models_of(client, run.info.experiment_id, run.info.run_id))
        for uri in (run.info.artifact_uri, *(model.artifact_location for model in models)):
            if not artifacts.is_reachable(uri):
                raise AsrLabError(
                    f"the files of {run.info.run_name} are out of reach: nothing is archived",
                    where=uri,
                    hint="is the disk mounted? the folder is missing, and the one around it too",
                )
        about = describe_run(client, run, models, held)
        writer.add(bundle.RUN, json.dumps(about, indent=1, ensure_ascii=False).encode())
        metrics = Path(staging) / bundle.METRICS
        _history(client, run).to_parquet(metrics, index=False)
        writer.add(bundle.METRICS, metrics)
        with artifacts.local_copy(run.info.artifact_uri, Path(staging) / "artifacts") as folder:
            writer.add_folder("artifacts", folder)
        for model in models:
            writer.add(f"models/{model.model_id}/model.json", json.dumps(_model(model), indent=1).encode())
            with artifacts.local_copy(model.artifact_location, Path(staging) / model.model_id) as folder:
                writer.add_folder(f"models/{model.model_id}/files", folder)
    bundle.verify(path)


def describe_run(client: MlflowClient, run: Run, models: list[LoggedModel], held: Registrations) -> dict[str, Any]:
    """Return the content of `run.json`."""
    info = run.info
    inputs = run.inputs.dataset_inputs if run.inputs else []
    outputs = run.outputs.model_outputs if run.outputs else []
    return {
        "run_id": info.run_id,
        "name": info.run_name,
        "experiment": client.get_experiment(info.experiment_id).name,
        "status": info.status,
        "user_id": info.user_id,
        "start_time": info.start_time,
        "end_time": info.end_time,
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key != ARCHIVED},
        "metrics": sorted(run.data.metrics),
        "datasets": [
            {
                **{key: getattr(one.dataset, key) for key in DATASET_FIELDS},
                "tags": {tag.key: tag.value for tag in one.tags},
            }
            for one in inputs
        ],
        "outputs": [{"model_id": output.model_id, "step": output.step} for output in outputs],
        "models": [model.model_id for model in models],
        "registered": {id: held.of(id) for id in (info.run_id, *record_of(run).models) if id in held.by_id},
    }


DATASET_FIELDS = ("name", "digest", "source_type", "source", "schema", "profile")


def _history(client: MlflowClient, run: Run) -> pd.DataFrame:
    points = [
        (point.key, point.step, point.timestamp, point.value)
        for name in sorted(run.data.metrics)
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    table = pd.DataFrame(points, columns=["key", "step", "timestamp", "value"])
    return table.astype({"key": "object", "step": "int64", "timestamp": "int64", "value": "float64"})


def _model(model: LoggedModel) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "name": model.name,
        "model_type": model.model_type,
        "status": str(model.status),
        "params": model.params or {},
        "tags": model.tags or {},
        "metrics": [
            {
                key: getattr(one, key)
                for key in ("key", "value", "timestamp", "step", "dataset_name", "dataset_digest", "run_id")
            }
            for one in model.metrics or []
        ],
    }
