"""Merge a run's adapters into their base, and register the result as a plain model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from asr_lab.interfaces.tracking import MERGED, RegisteredModel
from asr_lab.system.files import explain_unwritable
from asr_lab.tracking.models import registry
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.tracking.models.variants import register_variant
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.store import explain_store_errors, tracking_uri


def register_merged(run_id: str, name: str) -> ModelVersion | None:
    """Register the model of a run as a version of `name`, with its adapters merged; existing versions are reused.

    Return None if the model has no adapters. The run's own model is not changed. Raises `AsrLabError` if the run has
    no model, or the base is missing.
    """
    run, source = registry.model_of(run_id, name)
    refuse_moved(tracking_uri())
    with _merged(source) as folder:
        if not folder:
            return None
        with explain_store_errors("the model cannot be registered"):
            return _publish(run, name, folder)


@contextmanager
def _merged(source: str) -> Iterator[Path | None]:
    """Yield a temporary folder with the merged model; None if there are no adapters."""
    from asr_lab.models import load_model

    store = MlflowStore()
    recognizer = load_model(store.resolve(source), store.resolve)
    if not recognizer.added_params:
        yield None
        return
    recognizer.merge()
    with tempfile.TemporaryDirectory() as staging:
        folder = Path(staging) / "model"
        with explain_unwritable("the merged model", folder):
            recognizer.save(folder)
        yield folder


def _publish(run: Run, name: str, folder: Path) -> ModelVersion:
    described = RegisteredModel(name=name, files={}, tags=registry.tags_of(run) | {MERGED: "true"})
    params = run.data.params | {"model.merged": "True"}
    return register_variant(run, folder, folder.with_name("package"), described, variant="merged", params=params)
