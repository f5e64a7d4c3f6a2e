"""Exported models as artifacts of the runs whose models they are."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow.entities import Run

from asr_lab.errors import AsrLabError
from asr_lab.tracking.store import client, explain_store_errors

FOLDER = "exported"
"""Of the artifacts, with one folder for each form."""
_OF_RUN = re.compile(r"runs:/(\w+)/.+")
_VERSION = re.compile(r"models:/([^/@]+)/(\d+)")


def run_to_log_to(uri: str, form: str) -> Run:
    """Return the run of a model by its pinned URI.

    Raises `AsrLabError` if the model is in no run of the store, or the run has an exported model of this form.
    """
    store = client()
    with explain_store_errors("the run of the model cannot be read"):
        of_run, version = _OF_RUN.fullmatch(uri), _VERSION.fullmatch(uri)
        run_id = of_run[1] if of_run else str(store.get_model_version(*version.groups()).run_id) if version else ""
        if not run_id:
            raise AsrLabError("--log needs a run of the model", where=uri, allowed="models:/NAME/3, runs:/ID/model")
        run = store.get_run(run_id)
        if any(one.path == f"{FOLDER}/{form}" for one in store.list_artifacts(run_id, FOLDER)):
            raise AsrLabError(f"{run.info.run_name} has the artifact {FOLDER}/{form} already", where=uri)
        return run


def log_exported(run: Run, folder: Path, form: str) -> str:
    """Log an exported folder; return the artifact's URI."""
    with explain_store_errors("the exported model cannot be logged"):
        client().log_artifacts(run.info.run_id, str(folder), f"{FOLDER}/{form}")
    return f"runs:/{run.info.run_id}/{FOLDER}/{form}"
