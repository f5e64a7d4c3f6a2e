"""Exported models in the tracking store: artifacts of the run whose model they are, and registered versions."""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path

from mlflow.entities import Run

from asr_lab.config.names import registered_name
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.models.onnx_folder import read_config
from asr_lab.reports.markdown import escape_markdown
from asr_lab.tracking.models import registry
from asr_lab.tracking.models.names import uri_of, versions_of
from asr_lab.tracking.models.variants import register_variant
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.store import client, explain_store_errors, tracking_uri
from asr_lab.tracking.tags import EXPORTED, EXPORTED_FROM
from asr_lab.units import counted

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


def check_store(name: str, form: str) -> None:
    """Raise `AsrLabError` if the store takes no exported model, or none as a version of `name` (unless empty).

    A name holds exported versions alone, as its newest would take neither adapters nor further training.
    """
    refuse_moved(tracking_uri())
    if not name:
        return
    command = f"asr-lab export MODEL --to {form} --out FOLDER --register"
    try:
        registered_name(name)
    except ValueError as error:
        raise AsrLabError(str(error), next_command=f"{command} NAME") from error
    other = next((uri_of(one) for one in versions_of(name) if EXPORTED not in one.tags), "")
    if other:
        raise AsrLabError(
            f"{name} has versions that are not exported, and its newest would take neither adapters nor training",
            where=other,
            allowed="a name of exported models only",
            next_command=f"{command} {shlex.quote(f'{name}-{form}')}",
        )


def refuse_logged(run: Run, form: str) -> None:
    """Raise `AsrLabError` if the run has an exported model of this form."""
    with explain_store_errors("the artifacts of the run cannot be read"):
        if any(one.path == f"{FOLDER}/{form}" for one in client().list_artifacts(run.info.run_id, FOLDER)):
            where = f"runs:/{run.info.run_id}/{FOLDER}/{form}"
            raise AsrLabError(f"{run.info.run_name} has an exported model of this form already", where=where)


def log_exported(run: Run, folder: Path, form: str) -> str:
    """Log an exported folder; return the artifact's URI."""
    with explain_store_errors("the exported model cannot be logged"):
        client().log_artifacts(run.info.run_id, str(folder), f"{FOLDER}/{form}")
    return f"runs:/{run.info.run_id}/{FOLDER}/{form}"


def register_exported(run: Run, folder: Path, form: str, name: str, origin: str) -> str:
    """Register an exported folder as a version of `name`, whose tags name its form and its origin; return its URI.

    It belongs to the run of its origin, whose own model and card do not change.
    """
    tags = registry.tags_of(run) | {EXPORTED: form, EXPORTED_FROM: origin}
    described = RegisteredModel(name=name, files={}, tags=tags, description=_description(folder, form, origin))
    with tempfile.TemporaryDirectory() as staging, explain_store_errors("the model cannot be registered"):
        package = Path(staging) / "package"
        version = register_variant(run, folder, package, described, variant=form, params=run.data.params)
        return uri_of(version)


def _description(folder: Path, form: str, origin: str) -> str:
    """Return the description of a version: its form, its origin, and what was measured of it, not of its origin."""
    measured = read_config(folder)["measured"]
    wer = "WER not measured"
    if measured["utterances"]:
        where = f"{counted(measured['utterances'], 'utterance')} of {measured['data']}"
        wer = f"WER {measured['wer']:.1%} on {where} (of the origin there: {measured['wer_of_source']:.1%})"
    return escape_markdown(f"Exported to {form} from {origin}; {wer}; {measured['size_mb']:.2f} MB")
