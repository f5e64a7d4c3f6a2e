"""Versions that are another form of a run's model: merged, or exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.tracking.models import pyfunc_package, registry
from asr_lab.tracking.store import client


def register_variant(
    run: Run, folder: Path, package: Path, described: RegisteredModel, *, variant: str, params: Mapping[str, str]
) -> ModelVersion:
    """Package a model folder, and register it as a version that belongs to the run; the run's own model stays.

    `described` has the version's name, tags and description. The package is written to `package`.
    """
    content = pyfunc_package.package(RegisteredModel(name=described.name, files={"model": folder}), package)
    uri = pyfunc_package.publish(
        client(), run.info.run_id, package, name=described.name, content=content, params=dict(params), variant=variant
    )
    return registry.new_version(client(), uri, run.info.run_id, described)
