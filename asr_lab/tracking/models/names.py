"""Names of registered models: all versions of a name are of one kind, so that one can replace another."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from asr_lab.config.names import ADAPTER_PREFIX
from asr_lab.errors import AsrLabError
from asr_lab.families import makes_adapters
from asr_lab.tracking.queries.filters import quoted
from asr_lab.tracking.store import all_pages, client, explain_store_errors, is_missing
from asr_lab.tracking.tags import EXPORTED, FAMILY

_ADAPTERS = "adapters"


class OtherKindError(AsrLabError):
    """The versions of the name are models of another kind."""


def uri_of(version: ModelVersion) -> str:
    """`models:/NAME/VERSION`."""
    return f"models:/{version.name}/{version.version}"


def versions_of(name: str) -> list[ModelVersion]:
    """Return all versions of a name, in no order."""
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
    """Raise `OtherKindError` if a model of the family is of another kind than the versions of the name.

    Kinds are exported models, adapters, language models, and other models. Older runs and versions whose family is not
    known ("") are not refused for their kind.
    """
    kind, versions = _kind(family), versions_of(name)
    if exported := next((uri_of(one) for one in versions if EXPORTED in one.tags), ""):
        raise OtherKindError(f"{name} has only exported models", where=exported, allowed="another name")
    known = ((one, theirs) for one in versions if (theirs := _kind(family_of(one))))
    version, theirs = next(known, (None, ""))
    if kind and version and theirs != kind:
        raise OtherKindError(
            f"the models of {name} are {theirs}, not {kind}", where=uri_of(version), allowed="another name"
        )
    if kind and kind != _ADAPTERS and name.startswith(ADAPTER_PREFIX):
        raise OtherKindError(
            f"names that begin with {ADAPTER_PREFIX} are for adapters", where=name, allowed="another name"
        )


def _kind(family: str) -> str:
    """Return the kind of the models of a family; "" for an unknown family."""
    if makes_adapters(family):
        return _ADAPTERS
    return "language models" if family == "lm" else "speech models" if family else ""
