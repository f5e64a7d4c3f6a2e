"""Load a model of any family from its folder. Heavy libraries are imported only when a model is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asr_lab.errors import AsrLabError, listing
from asr_lab.families import find, loaders

if TYPE_CHECKING:
    from asr_lab.models.recognizer import Recognizer

Resolve = Callable[[str], Path]
"""Resolves a model's URI, such as `models:/NAME/3`, to a local folder."""


class Loader(Protocol):
    """Loads a recogniser from a model folder."""

    def __call__(self, folder: Path, resolve: Resolve | None = None) -> Recognizer: ...


def load_model(folder: Path | str, resolve: Resolve | None = None, *, inference: bool = False) -> Recognizer:
    """Load any model of asr_lab from its folder; raise `AsrLabError` if the folder is not one.

    `resolve` locates the base model of saved adapters when that is a registry URI. `inference`: it is neither trained
    nor saved, which may need fewer libraries.
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
    known = loaders(inference=inference)
    if model_type not in known:
        raise AsrLabError(f"unknown model type {model_type!r}", where=str(folder), allowed=listing(known))
    load: Loader = find(known[model_type])
    return load(folder, resolve)
