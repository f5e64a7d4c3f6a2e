"""Registered models by URI, with MLflow alone, as a served model needs them."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from asr_lab.config.names import ADAPTER_SUFFIX
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.models.adapter.file import REGISTERED
from asr_lab.serving.logged_model import stored_uri

_NAME = REGISTERED.format("")


class Registered:
    """The models of the tracking store that MLflow is set to; a `serving.adapter_cache.AdapterStore`.

    What a store elsewhere sends is kept on disk, each version once.
    """

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}

    def resolve(self, uri: str) -> Path:
        return self._artifacts(uri) / "model"

    def adapter_file(self, uri: str) -> Path:
        files = list(self._artifacts(uri).glob(f"*{ADAPTER_SUFFIX}"))
        if not files:
            raise AsrLabError(f"{uri} is not an adapter", allowed="an adapter's name or URI")
        return files[0]

    def resolve_version(self, uri: str) -> str:
        if uri.startswith("runs:/"):
            return uri
        name, at, alias = uri.removeprefix("models:/").partition("@")
        client = mlflow.MlflowClient()
        try:
            if at:
                return f"models:/{name}/{client.get_model_version_by_alias(name, alias).version}"
            model, _, version = name.partition("/")
            client.get_model_version(model, version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise AsrLabError(f"no model {uri!r}") from error
            raise UnavailableError("the model registry does not answer") from error
        return uri

    @staticmethod
    def speakers() -> list[str]:
        """Return the names of the registered adapters of speakers."""
        models = mlflow.MlflowClient().search_registered_models(f"name LIKE '{_NAME}%'", max_results=1000)
        return [model.name.removeprefix(_NAME) for model in models]

    def _artifacts(self, uri: str) -> Path:
        if uri in self._folders and self._folders[uri].is_dir():
            return self._folders[uri]
        try:
            stored = stored_uri(mlflow.MlflowClient(), uri)
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=stored)) / "artifacts"
        except (MlflowException, OSError) as error:
            raise UnavailableError(f"{uri} cannot be fetched from the model registry") from error
        if "@" not in uri:
            self._folders[uri] = folder
        return folder
