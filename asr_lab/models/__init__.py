"""The one table of models: name -> what trains and loads it. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from asr_lab.errors import AsrLabError, listing

if TYPE_CHECKING:
    from asr_lab.models.recognizer import Recognizer

LOADERS: dict[str, str] = {"deepspeech2": "asr_lab.models.recognizer:load_recognizer"}
"""`model_type` in a model folder's `config.json` -> the function that loads the folder."""


def load_model(folder: Path | str) -> Recognizer:
    """Any model of asr_lab from its folder; raises `AsrLabError` when the folder is not one."""
    folder = Path(folder)
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise AsrLabError(
            "not a model folder: no readable config.json",
            where=str(folder),
            allowed="what asr-lab train wrote",
        ) from error
    if model_type not in LOADERS:
        raise AsrLabError(f"unknown model type {model_type!r}", where=str(folder), allowed=listing(LOADERS))
    module, _, function = LOADERS[model_type].partition(":")
    recognizer: Recognizer = getattr(import_module(module), function)(folder)
    return recognizer
