"""The one table of models: name -> what trains and loads it. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asr_lab.errors import AsrLabError, listing

if TYPE_CHECKING:
    from asr_lab.models.recognizer import Recognizer

Resolve = Callable[[str], Path]
"""A model's URI, such as `models:/NAME/3`, as its local folder."""

_WAV2VEC2 = "asr_lab.models.wav2vec2.recognizer:load_recognizer"
LOADERS: dict[str, str] = {
    "deepspeech2": "asr_lab.models.deepspeech2_recognizer:load_recognizer",
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "wavlm": _WAV2VEC2,
    "pronunciation": "asr_lab.models.pronunciation.assessor:load_recognizer",
}
"""`model_type` in a model folder's `config.json` -> the function that loads the folder."""


class Loader(Protocol):
    """Turns a model's folder into a recogniser."""

    def __call__(self, folder: Path, resolve: Resolve | None = None) -> Recognizer: ...


def load_model(folder: Path | str, resolve: Resolve | None = None) -> Recognizer:
    """Any model of asr_lab from its folder; raises `AsrLabError` when the folder is not one.

    `resolve` finds the base of a model that is kept as adapters alone, where it is one of a registry.
    """
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
    recognizer: Recognizer = getattr(import_module(module), function)(folder, resolve)
    return recognizer
