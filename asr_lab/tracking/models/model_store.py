"""Models by URI or folder, for recipes and the engine. MLflow is imported only once the tracking store is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from asr_lab.config.names import ADAPTER_SUFFIX
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.interfaces.tracking import Lineage

_ARPA_SUFFIX = ".arpa"


class MlflowStore:
    """Models by registry URI, `runs:/ID/model`, or folder; an `interfaces.tracking.ModelStore`."""

    def resolve(self, uri: str) -> Path:
        """Return the local folder of a recogniser; raises `AsrLabError` if there is no such model."""
        if _is_folder(uri):
            return _own_folder(Path(uri))
        files = _files(uri)
        if any(files.glob(f"*{ADAPTER_SUFFIX}")):
            raise AsrLabError(
                f"{uri} is a speaker's adapter, not a recogniser",
                next_command=f"asr-lab transcribe FILE.wav --adapter {uri}",
            )
        if any(files.glob(f"*{_ARPA_SUFFIX}")):
            raise AsrLabError(
                f"{uri} is a language model, not a recogniser",
                next_command=f"asr-lab evaluate --model MODEL --data DATA decode.lm={uri}",
            )
        return files / "model"

    def adapter_file(self, uri: str) -> Path:
        """Return the file of a registered adapter; raises `AsrLabError` if there is none."""
        for file in _files(uri).glob(f"*{ADAPTER_SUFFIX}"):
            return file
        raise AsrLabError(f"{uri} is not an adapter", next_command="asr-lab adapters list --registry")

    def language_model_file(self, uri: str) -> Path:
        """Return the ARPA file of a registered language model; raises `AsrLabError` if it is another model."""
        for file in _files(uri).glob(f"*{_ARPA_SUFFIX}"):
            return file
        raise AsrLabError(
            f"{uri} is not a language model", next_command="asr-lab lm TEXT --out NAME.arpa --register NAME"
        )

    def language_model_weights(self, uri: str) -> dict[str, dict[str, float]]:
        """Return the weights registered with a language model, by the recogniser's name."""
        from asr_lab.tracking.models import lm_weights

        return lm_weights.weights_of(uri)

    def register_language_model_weights(self, uri: str, recognizer: str, weights: Mapping[str, float]) -> None:
        """Register weights with a language model for a recogniser's name."""
        from asr_lab.tracking.models import lm_weights

        lm_weights.register_weights(uri, recognizer, weights)

    def resolve_version(self, uri: str) -> str:
        """An alias as the version it means today; other URIs as they are."""
        if _is_folder(uri):
            return str(_own_folder(Path(uri)).resolve())
        from asr_lab.tracking.models import registry

        return registry.resolve_version(uri)

    def exists(self, uri: str) -> bool:
        """Return whether the model exists; raises `StoreUnavailableError` if the registry does not answer."""
        try:
            self.resolve_version(uri)
        except UnavailableError:
            raise
        except AsrLabError:
            return False
        return True

    def lineage(self, uri: str, adapter: str = "") -> Lineage:
        """Return the training data of the runs behind a model and an adapter; what is not known is listed."""
        from asr_lab.tracking.models.lineage import trace

        return trace(uri, adapter)


def _files(uri: str) -> Path:
    from asr_lab.tracking.models import registry

    return registry.model_files(uri)


def _is_folder(uri: str) -> bool:
    return bool(uri) and Path(uri).is_dir()


def _own_folder(folder: Path) -> Path:
    """Return the recogniser's folder inside a pyfunc; any other folder unchanged."""
    return folder / "artifacts" / "model" if (folder / "MLmodel").is_file() else folder
