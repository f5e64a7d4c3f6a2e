"""MLflow: recording runs, finding them again, keeping models. Nothing here imports torch before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr_lab.models.recognizer import Recognizer


def load_model(uri: str) -> Recognizer:
    """A recogniser by `models:/NAME@alias`, `models:/NAME/3`, `runs:/ID/model`, or its folder.

    Raises `AsrLabError` when there is no such model.
    """
    from asr_lab.models import load_model as load_folder
    from asr_lab.tracking.registry import MlflowStore

    return load_folder(MlflowStore().resolve(uri))
