"""Models of runs: kept as pyfuncs that plain MLflow loads, registered under names, found again by URI."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

import asr_lab
from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import tracking_uri
from asr_lab.training.recorder import RegisteredModel

CHAMPION = "champion"
ADAPTER_NAME = "deepspeech2-adapter-"
ADAPTER_SUFFIX = "_adapter.pt"
_PACKAGE = Path(asr_lab.__file__).parent
_PYFUNC = _PACKAGE / "serving" / "pyfunc.py"
_NEEDED = (
    "torch",
    "torchaudio",
    "transformers",
    "lhotse",
    "soundfile",
    "soxr",
    "pydantic",
    "jiwer",
    "pandas",
    "mlflow",
)
_REGISTRY_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/]+)|/(?P<version>\d+))")

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("binary", "audio")]),
    outputs=Schema([ColSpec("string", "text")]),
    params=ParamSchema([ParamSpec("batch_size", "long", 8)]),
)


def keep(client: MlflowClient, run_id: str, model: RegisteredModel, *, register: bool) -> str:
    """Log a model with its run; with `register`, make it a version; one of a name without a champion becomes it.

    The code that reads it travels with it, so an environment without asr_lab loads it too. Returns its URI:
    `models:/NAME/VERSION`, or `models:/ID` when it is not registered.
    """
    run = client.get_run(run_id)
    logged = client.create_logged_model(  # made here, for Model.log would put it into the default experiment
        run.info.experiment_id,
        name="model",
        source_run_id=run_id,
        model_type=model.name,
        params=run.data.params,
    )
    with tempfile.TemporaryDirectory() as staging:
        info = Model.log(
            None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=logged.model_id,
            python_model=str(_PYFUNC),
            artifacts={name: str(_called(name, path, Path(staging))) for name, path in model.files.items()},
            model_config={"base_uri": model.base_uri} if model.base_uri else None,
            code_paths=[str(_PACKAGE)],
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _NEEDED],
            signature=SIGNATURE,
        )
    if not register:
        return str(info.model_uri)
    return uri_of(_new_version(client, info.model_uri, run_id, model))


def _called(name: str, path: Path, staging: Path) -> Path:
    """A folder under the name it is looked for by (MLflow keeps the name of the source); files keep their own."""
    if not path.is_dir() or path.name == name:
        return path
    return Path(shutil.copytree(path, staging / name))


def uri_of(version: ModelVersion) -> str:
    """`models:/NAME/VERSION`."""
    return f"models:/{version.name}/{version.version}"


def _new_version(client: MlflowClient, source: str, run_id: str, model: RegisteredModel) -> ModelVersion:
    try:
        has_champion = CHAMPION in client.get_registered_model(model.name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(model.name)
        has_champion = False
    made = client.create_model_version(
        model.name, source, run_id=run_id, tags=dict(model.tags), description=model.description
    )
    if not has_champion:  # the first one, or the first after one that was cut off or deleted: nothing to gate against
        client.set_registered_model_alias(model.name, CHAMPION, made.version)
    return made


def register_run(run_id: str, name: str) -> ModelVersion:
    """Make the model a run logged a version of `name`; raises `AsrLabError` when the run has none."""
    client = tracking_client()
    run = client.get_run(run_id)
    logged = [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]
    if not logged:
        raise AsrLabError(f"run {run_id[:8]} logged no model", next_command=f"asr-lab show {run_id[:8]}")
    known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if known:
        return known[0]
    tags = {key: run.data.tags[key] for key in ("asr_lab.base",) if key in run.data.tags}
    return _new_version(client, f"models:/{logged[-1]}", run_id, RegisteredModel(name=name, files={}, tags=tags))


def adapter_versions() -> list[dict[str, Any]]:
    """A row a version of each registered adapter: person, version, whether champion, base and its digest."""
    client = tracking_client()
    rows = [
        {
            "name": model.name.removeprefix(ADAPTER_NAME),
            "version": int(made.version),
            "champion": str(model.aliases.get(CHAMPION)) == str(made.version),
            "base": made.tags.get("asr_lab.base", ""),
            "base_digest": made.tags.get("asr_lab.base_digest", "")[:8],
            "uri": uri_of(made),
        }
        for model in client.search_registered_models(f"name LIKE '{ADAPTER_NAME}%'")
        for made in client.search_model_versions(f"name = '{model.name}'")
    ]
    return sorted(rows, key=lambda row: (row["name"], row["version"]))


class MlflowStore:
    """Models by registry URI, `runs:/ID/model`, or folder."""

    def resolve(self, uri: str) -> Path:
        """The local folder of a recogniser; raises `AsrLabError` when there is no such model."""
        if Path(uri).is_dir():
            folder = Path(uri)
            return folder / "artifacts" / "model" if (folder / "MLmodel").is_file() else folder
        artifacts = _download(tracking_uri(), self.pin(uri)) / "artifacts"
        if any(artifacts.glob(f"*{ADAPTER_SUFFIX}")):
            raise AsrLabError(
                f"{uri} is a person's adapter, not a recogniser",
                next_command=f"asr-lab transcribe FILE.wav --adapter {uri}",
            )
        return artifacts / "model"

    def adapter_file(self, uri: str) -> Path:
        """The file of a registered adapter; raises `AsrLabError` when there is none, or it is no adapter."""
        artifacts = _download(tracking_uri(), self.pin(uri)) / "artifacts"
        for file in artifacts.glob(f"*{ADAPTER_SUFFIX}"):
            return file
        raise AsrLabError(f"{uri} is not an adapter", next_command="asr-lab adapters list --registry")

    def pin(self, uri: str) -> str:
        """An alias as the version it means today; other URIs as they are."""
        if Path(uri).is_dir():
            return str(Path(uri).resolve())
        if uri.startswith("models:/") and uri.endswith("/latest"):
            return uri_of(_newest(uri))
        parts = _REGISTRY_URI.fullmatch(uri)
        if parts is None:
            if uri.startswith(("runs:/", "models:/")):
                return uri
            raise AsrLabError(
                f"not a model: {uri!r}",
                allowed="models:/NAME@alias, models:/NAME/3, runs:/ID/model, or a model's folder that exists",
            )
        try:
            if parts["alias"]:
                found = tracking_client().get_model_version_by_alias(parts["name"], parts["alias"])
            else:
                found = tracking_client().get_model_version(parts["name"], parts["version"])
        except MlflowException as error:
            raise _no_such_model(uri) from error
        return uri_of(found)

    def exists(self, uri: str) -> bool:
        """Whether the registry has it."""
        try:
            self.pin(uri)
        except AsrLabError:
            return False
        return True


def _newest(uri: str) -> ModelVersion:
    name = uri.removeprefix("models:/").removesuffix("/latest")
    versions = tracking_client().search_model_versions(f"name = '{name}'")
    if not versions:
        raise _no_such_model(uri)
    return max(versions, key=lambda version: int(version.version))


def _no_such_model(uri: str) -> AsrLabError:
    names = [model.name for model in tracking_client().search_registered_models()]
    return AsrLabError(
        f"no model {uri!r}",
        where=tracking_uri(),
        allowed=listing(names) or "the registry is empty",
        next_command="asr-lab train experiments/deepspeech2/base.yaml",
    )


@functools.lru_cache(maxsize=8)
def _download(store: str, uri: str) -> Path:
    tracking_client()
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        raise AsrLabError(f"the model {uri!r} cannot be read: {error}", where=store) from error
