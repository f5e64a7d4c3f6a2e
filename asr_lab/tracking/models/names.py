"""Names of registered models: all versions of one are of a kind, so that any of them is taken where another was."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from asr_lab.errors import AsrLabError
from asr_lab.families import makes_adapters
from asr_lab.tracking.queries.filters import quoted
from asr_lab.tracking.store import all_pages, client, explain_store_errors, is_missing
from asr_lab.tracking.tags import EXPORTED, FAMILY

ADAPTER_NAME = "deepspeech2-adapter-"
"""Begins the registered names of adapters."""


def uri_of(version: ModelVersion) -> str:
    """`models:/NAME/VERSION`."""
    return f"models:/{version.name}/{version.version}"


def versions_of(name: str) -> list[ModelVersion]:
    """Return all versions of a name, the newest first."""
    with explain_store_errors("the registry cannot be read"):
        return list(all_pages(client().search_model_versions, f"name = {quoted(name)}"))


def family_of(version: ModelVersion) -> str:
    """Return the family of a version by its tag or its run's; "" if neither is there."""
    family = version.tags.get(FAMILY, "")
    if family or not version.run_id:
        return family
    with explain_store_errors("the run of the version cannot be read"):
        try:
            return str(client().get_run(version.run_id).data.tags.get(FAMILY, ""))
        except MlflowException as error:
            if not is_missing(error):
                raise
            return ""


def refuse_other_kind(name: str, family: str) -> None:
    """Raise `AsrLabError` if a model of the family is of another kind than the versions of the name.

    An exported one takes neither adapters nor training, an adapter is no recogniser, a language model neither.
    """
    kind, versions = _kind(family), versions_of(name)
    if exported := next((uri_of(one) for one in versions if EXPORTED in one.tags), ""):
        raise AsrLabError(f"{name} has exported models alone", where=exported, allowed="another name")
    if versions and (theirs := family_of(versions[0])) and _kind(theirs) != kind:
        raise AsrLabError(
            f"{name} has {_kind(theirs)}, and this would be one of {kind}",
            where=uri_of(versions[0]),
            allowed="another name",
        )
    if name.startswith(ADAPTER_NAME) and not makes_adapters(family):
        raise AsrLabError(f"names that begin with {ADAPTER_NAME} are of adapters", where=name, allowed="another name")


def _kind(family: str) -> str:
    return "adapters" if makes_adapters(family) else "language models" if family == "lm" else "models of speech"
