"""Names of registered models: those of exported models have no others."""

from __future__ import annotations

from asr_lab.errors import AsrLabError
from asr_lab.tracking.queries.filters import quoted
from asr_lab.tracking.store import all_pages, client, explain_store_errors
from asr_lab.tracking.tags import EXPORTED


def first_version(name: str, *, exported: bool) -> str:
    """Return the URI of the first version of `name` that is exported, or is not; "" if there is none."""
    with explain_store_errors("the registry cannot be read"):
        versions = all_pages(client().search_model_versions, f"name = {quoted(name)}")
    fitting = (one for one in versions if (EXPORTED in one.tags) == exported)
    return next((f"models:/{one.name}/{one.version}" for one in fitting), "")


def refuse_exported(name: str) -> None:
    """Raise `AsrLabError` if a name holds exported models: its newest would take neither adapters nor training."""
    if version := first_version(name, exported=True):
        raise AsrLabError(f"{name} has exported models alone", where=version, allowed="another name")
