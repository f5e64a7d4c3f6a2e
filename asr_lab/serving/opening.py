"""Open an engine: a model by its URI, and the adapters that a job uses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from asr_lab.config.names import model_uri
from asr_lab.config.schema import Adapter, Decode
from asr_lab.errors import AsrLabError, UnavailableError, listing
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decode_choice import choose
from asr_lab.serving.adapter_cache import MOST, AdapterCache
from asr_lab.serving.decoders import Decoders
from asr_lab.serving.engine import Engine

_CHAMPION = str(Adapter.model_fields["base"].default)
_PEFT = "adapter_config.json"
_OF_A_STORE = ("models:/", "runs:/")


def open_engine(
    store: ModelStore,
    model: str,
    adapters: Sequence[str],
    folder: str,
    registered: Callable[[], Iterable[str]] = tuple,
    decode: Decode | None = None,
) -> tuple[Engine, str]:
    """Return an engine of a model with all these adapters loaded, and the pinned URI of the model.

    `model` is a URI, a folder, or a registered name. Without it, the base that the first adapter names is used, else
    the champion. An alias means one version for the whole job. Raises one `AsrLabError` that names the adapters
    that are missing, or do not fit.
    """
    uri = store.resolve_version(model_uri(model) or _base_of(store, adapters, folder) or _CHAMPION)
    recognizer = load_model(store.resolve(uri), store.resolve, inference=True)
    engine = Engine(recognizer, decoders=_decoders(decode, recognizer, store, uri))
    if not adapters:
        return engine, uri
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
    return replace(engine, adapters=cache), uri


def _decoders(decode: Decode | None, recognizer: Recognizer, store: ModelStore, uri: str) -> Decoders:
    if decode is None:
        return Decoders(recognizer)
    chosen = choose(decode, recognizer, store, uri)
    return Decoders(recognizer, chosen.settings, chosen.lm_file, notes=[chosen.note] if chosen.note else [])


def _base_of(store: ModelStore, adapters: Sequence[str], folder: str) -> str:
    """Return the base named by the first adapter that is there, or registered; "" if none names one.

    It stands in an adapter's file, or in the model folder of LoRA and similar. Raises `AsrLabError` if what was given
    by URI or file is no adapter.
    """
    manager = AdapterManager(folder)
    for adapter in adapters:
        uri = adapter if adapter.startswith(_OF_A_STORE) else manager.registered(adapter)
        if base := _base_of_folder(store, adapter):
            return base
        try:
            return manager.get_adapter_info(str(store.adapter_file(uri)) if uri else adapter).base
        except UnavailableError:
            raise
        except AsrLabError:
            if uri == adapter or adapter.endswith(".pt"):
                raise
    return ""


def _base_of_folder(store: ModelStore, adapter: str) -> str:
    """Return the base of an adapter that is a model folder, by its folder, URI or registered name; "" of others.

    Raises `AsrLabError` if its base is no model of asr_lab: then it is a recogniser of its own.
    """
    folder, uri = Path(adapter), model_uri(adapter)
    if not folder.is_dir():
        try:
            folder = store.resolve(uri) if uri.startswith(_OF_A_STORE) else folder
        except UnavailableError:
            raise
        except AsrLabError:  # of another kind, or unknown
            return ""
    try:
        content = json.loads((folder / _PEFT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    base = str(content.get("base_model_name_or_path") or "")
    if base.startswith(_OF_A_STORE) or (Path(base) / "vocab.json").is_file():
        return base
    raise AsrLabError(
        f"{adapter} is a recogniser of its own: its base {base!r} recognises nothing without it",
        next_command=f"asr-lab transcribe FILE --model {adapter}",
    )
