"""Models as pyfuncs: packaged when recorded, published once the store answers.

A package includes the code that trained the model; creating one needs no store.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import soundfile
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

import asr_lab
from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.models.onnx_folder import is_exported
from asr_lab.serving.signature import SIGNATURE
from asr_lab.tracking.store import silence_mlflow, without_retries
from asr_lab.tracking.tags import CONTENT
from asr_lab.units import SAMPLE_RATE

_ORIGIN = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_GIT_COMMIT)
"""Tags of a run that its models have too."""
_FORBIDDEN = re.compile(r"""[/:.%"']""")
"""Characters that the name of a logged model cannot have."""
_PACKAGE = Path(asr_lab.__file__).parent
_PYFUNC = _PACKAGE / "serving" / "pyfunc.py"
_LM_PYFUNC = _PACKAGE / "serving" / "lm_pyfunc.py"
_NEEDED = (
    "torch",
    "torchaudio",
    "transformers",
    "peft",
    "lhotse",
    "soundfile",
    "soxr",
    "pydantic",
    "jiwer",
    "pandas",
    "mlflow",
)
_LANGUAGE_MODEL = ModelSignature(
    inputs=Schema([ColSpec("string", "text")]),
    outputs=Schema([ColSpec("double", "log10_probability"), ColSpec("double", "perplexity")]),
)


def _input_example(model: RegisteredModel) -> pd.DataFrame:
    """Return a request with half a second of silence, or a sentence: what the model page shows, and serving takes."""
    if "lm" in model.files:
        return pd.DataFrame({"text": ["this is a sentence"]})
    file = io.BytesIO()
    soundfile.write(file, np.zeros(SAMPLE_RATE // 2, np.int16), SAMPLE_RATE, format="FLAC")
    return pd.DataFrame({"audio": [file.getvalue()]})


def package(model: RegisteredModel, folder: Path) -> str:
    """Write the model to the new `folder` as a pyfunc, and return the digest of its files.

    It includes its code, so an environment without asr_lab can load it.
    """
    silence_mlflow()
    with tempfile.TemporaryDirectory() as staging:
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_LM_PYFUNC if "lm" in model.files else _PYFUNC),
            artifacts={name: str(_called(name, path, Path(staging))) for name, path in model.files.items()},
            model_config={"base_uri": model.base_uri} if model.base_uri else None,
            code_paths=[str(_PACKAGE)],
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _needed(model)],
            signature=_LANGUAGE_MODEL if "lm" in model.files else SIGNATURE,
            input_example=_input_example(model),
        )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    return files_digest(folder / "artifacts")


def _needed(model: RegisteredModel) -> tuple[str, ...]:
    exported = "model" in model.files and is_exported(model.files["model"])
    return (*_NEEDED, "onnxruntime") if exported else _NEEDED


def _called(name: str, path: Path, staging: Path) -> Path:
    """Return a copy of a folder with the artifact's name (MLflow keeps the source's name); files keep theirs."""
    if not path.is_dir() or path.name == name:
        return path
    return Path(shutil.copytree(path, staging / name))


def files_digest(folder: Path, prefix: str = "") -> str:
    """Return the digest of the files of a folder and their paths, as if it were in the folder `prefix`."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as content:
            own = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{prefix}{file.relative_to(folder)} {own}\n".encode())
    return total.hexdigest()[:32]


def publish(
    client: MlflowClient,
    run_id: str,
    folder: Path,
    *,
    name: str,
    content: str,
    params: Mapping[str, str],
    variant: str = "",
) -> str:
    """Publish a packaged model as a logged model of the run, and return its URI `models:/m-...`.

    `content` is its digest: the same content of the same run is published once. A `variant` is additional:
    `runs:/ID/model` does not refer to it.
    """
    logged = _logged(client, run_id, name, content, params, variant)
    if logged.status != "READY":
        if not variant:
            _link(client, run_id, logged.model_id)
        described = Model.load(str(folder))
        described.model_id = described.model_uuid = logged.model_id
        described.run_id, described.artifact_path = run_id, logged.artifact_location
        described.save(str(folder / MLMODEL_FILE_NAME))
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
    return f"models:/{logged.model_id}"


def _logged(
    client: MlflowClient, run_id: str, name: str, content: str, params: Mapping[str, str], variant: str
) -> LoggedModel:
    """Return the run's logged model of this content, created in the run's experiment if needed."""
    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    known = client.search_logged_models([experiment], f"tags.`{CONTENT}` = '{content}'")
    for one in known:
        if one.source_run_id == run_id:
            return one
    with without_retries():
        return client.create_logged_model(
            experiment,
            name=_FORBIDDEN.sub("_", "-".join(filter(None, (name, variant)))),
            source_run_id=run_id,
            model_type=name,
            params=dict(params),
            tags={CONTENT: content} | {key: run.data.tags[key] for key in _ORIGIN if key in run.data.tags},
        )


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Make the model an output of its run, once: MLflow raises an error for duplicates."""
    outputs = client.get_run(run_id).outputs
    if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
