"""Exported models in the tracking store: artifacts of the run whose model they are, and registered versions."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from mlflow.entities import Run

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.tracking.models import pyfunc_package, registry
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.store import client, explain_store_errors, tracking_uri
from asr_lab.tracking.tags import EXPORTED, EXPORTED_FROM

FOLDER = "exported"
"""Of the artifacts, with one folder for each form."""
_OF_RUN = re.compile(r"runs:/(\w+)/.+")
_VERSION = re.compile(r"models:/([^/@]+)/(\d+)")


def run_of(uri: str) -> Run:
    """Return the run of a model by its pinned URI; raise `AsrLabError` if it is in no run of the store."""
    store = client()
    with explain_store_errors("the run of the model cannot be read"):
        of_run, version = _OF_RUN.fullmatch(uri), _VERSION.fullmatch(uri)
        run_id = of_run[1] if of_run else str(store.get_model_version(*version.groups()).run_id) if version else ""
        if not run_id:
            what = "--log and --register need a run of the model"
            raise AsrLabError(what, where=uri, allowed="models:/NAME/3, runs:/ID/model")
        return store.get_run(run_id)


def refuse_logged(run: Run, form: str) -> None:
    """Raise `AsrLabError` if the run has an exported model of this form."""
    with explain_store_errors("the artifacts of the run cannot be read"):
        if any(one.path == f"{FOLDER}/{form}" for one in client().list_artifacts(run.info.run_id, FOLDER)):
            raise AsrLabError(f"{run.info.run_name} has the artifact {FOLDER}/{form} already")


def log_exported(run: Run, folder: Path, form: str) -> str:
    """Log an exported folder; return the artifact's URI."""
    with explain_store_errors("the exported model cannot be logged"):
        client().log_artifacts(run.info.run_id, str(folder), f"{FOLDER}/{form}")
    return f"runs:/{run.info.run_id}/{FOLDER}/{form}"


def register_exported(run: Run, folder: Path, form: str, name: str, origin: str) -> str:
    """Register an exported folder as a version of `name`, whose tags name its form and its origin; return its URI.

    It belongs to the run of its origin, whose own model does not change. Raises `AsrLabError` as `registry.model_of`.
    """
    registry.model_of(run.info.run_id, name)
    refuse_moved(tracking_uri())
    store, run_id = client(), run.info.run_id
    tags = registry.tags_of(run) | {EXPORTED: form, EXPORTED_FROM: origin}
    with tempfile.TemporaryDirectory() as staging, explain_store_errors("the model cannot be registered"):
        package = Path(staging) / "package"
        content = pyfunc_package.package(RegisteredModel(name=name, files={"model": folder}), package)
        uri = pyfunc_package.publish(
            store, run_id, package, name=name, content=content, params=run.data.params, variant=form
        )
        return registry.uri_of(
            registry.new_version(store, uri, run_id, RegisteredModel(name=name, files={}, tags=tags))
        )
