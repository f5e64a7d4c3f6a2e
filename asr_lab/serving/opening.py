"""Open an engine: a model by its URI, and the adapters that a job uses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from asr_lab.config.schema import Adapter
from asr_lab.errors import AsrLabError, UnavailableError, listing
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager
from asr_lab.serving.adapter_cache import MOST, AdapterCache
from asr_lab.serving.engine import Engine

_CHAMPION = str(Adapter.model_fields["base"].default)
_OF_A_STORE = ("models:/", "runs:/")
_REGISTERED = re.compile(r"[^/@:]+(?P<which>@[^/]+|/\d+)?")


def open_engine(
    store: ModelStore,
    model: str,
    adapters: Sequence[str],
    folder: str,
    registered: Callable[[], Iterable[str]] = tuple,
) -> tuple[Engine, str]:
    """Return an engine of a model with all these adapters loaded, and the pinned URI of the model.

    `model` is a URI, a folder, or a registered name. Without it, the base named in the first adapter's file is used,
    else the champion. An alias means one version for the whole job. Raises one `AsrLabError` that names the adapters
    that are missing, or do not fit.
    """
    uri = store.resolve_version(_as_uri(model) or _base_of(store, adapters, folder) or _CHAMPION)
    recognizer = load_model(store.resolve(uri), store.resolve)
    if not adapters:
        return Engine(recognizer), uri
    cache = AdapterCache(
        recognizer.adapter_loader(uri),
        store,
        kind=recognizer.adapter_kind,
        folder=folder,
        names=registered,
        most=max(MOST, len(adapters)),
        alias_s=math.inf,
    )
    faults: list[AsrLabError] = []
    for adapter in adapters:
        try:
            cache.get(adapter)
        except AsrLabError as error:
            faults.append(error)
    if len(faults) > 1:
        raise AsrLabError(
            f"{len(faults)} of {len(adapters)} adapters cannot be used: {listing(one.what for one in faults)}",
            where=faults[0].where,
            allowed=faults[0].allowed,
        )
    if faults:
        raise faults[0]
    return Engine(recognizer, cache), uri


def _as_uri(model: str) -> str:
    """Return the URI of a registered `NAME` (its champion), `NAME@alias` or `NAME/3`; folders and URIs unchanged."""
    if Path(model).is_dir() or not (parts := _REGISTERED.fullmatch(model)):
        return model
    return f"models:/{model}" if parts["which"] else f"models:/{model}@champion"


def _base_of(store: ModelStore, adapters: Sequence[str], folder: str) -> str:
    """Return the base named in the file of the first adapter that is there, or registered; "" if none names one."""
    manager = AdapterManager(folder)
    for adapter in adapters:
        uri = adapter if adapter.startswith(_OF_A_STORE) else manager.registered(adapter)
        try:
            return manager.get_adapter_info(str(store.adapter_file(uri)) if uri else adapter).base
        except UnavailableError:
            raise
        except AsrLabError:
            if uri == adapter or adapter.endswith(".pt"):
                raise
    return ""
