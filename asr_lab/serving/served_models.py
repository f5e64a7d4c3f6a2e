"""What a server offers: one recogniser, and the speakers whose adapters it takes, by name alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr_lab.config.schema import Decode
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models.adapter import AdapterManager, check_name, weights_digest
from asr_lab.serving.adapter_cache import ALIAS_S, AdapterCache
from asr_lab.serving.engine import Engine
from asr_lab.serving.opening import open_engine

IN_PACKAGE = ("artifacts", "model")
"""Where the recogniser's folder is in a model that MLflow downloaded."""
RegisteredRows = Callable[[], Iterable[Mapping[str, Any]]]
"""Returns the registered adapters: `name`, `base_digest` (its beginning). May raise `AsrLabError`."""


class ServedModels:
    """A recogniser with the name of its requests, and the speakers' adapters beside it; for any number of threads."""

    def __init__(self, engine: Engine, uri: str, speakers: Callable[[], Iterable[str]] = tuple) -> None:
        """`uri`: of one version of the recogniser, or its folder."""
        self.engine, self._uri, self._speakers = engine, uri, speakers
        self._listed: tuple[float, list[str]] = (float("-inf"), [])

    @property
    def name(self) -> str:
        """What a request calls the recogniser without an adapter: its registered name, else that of its folder."""
        if self._uri.startswith("models:/"):
            return self._uri.removeprefix("models:/").partition("/")[0]
        if self._uri.startswith("runs:/"):
            return self._uri
        folder = Path(self._uri)
        return folder.name if folder.parts[-2:] != IN_PACKAGE else folder.parents[1].name

    @property
    def version(self) -> str:
        """Its URI; of a folder the name, for clients are shown no paths."""
        return self._uri if self._uri.startswith(("models:/", "runs:/")) else self.name

    def adapter_of(self, model: str) -> str:
        """Return the adapter that a request means, "" for the recogniser alone.

        Raises `AsrLabError` if there is none, it is made for another base, or its name could be a path or an address.
        """
        if model in (self.name, self.version):
            return ""
        self.engine.adapter(check_name(model))
        return model

    def speakers(self) -> list[str]:
        """Return the names of the adapters that fit, looked up at most every 30 seconds."""
        asked_at, names = self._listed
        if time.monotonic() - asked_at >= ALIAS_S:
            names = sorted(set(self._speakers()) - {self.name})
            self._listed = (time.monotonic(), names)
        return names


def open_models(
    store: ModelStore, model: str, folder: str, registered: RegisteredRows, decode: Decode | None = None
) -> ServedModels:
    """Open a model (URI, folder or registered name; "": the champion) and the adapters of `folder` and the registry.

    An alias of the model means one version as long as the server runs; adapters are looked up again. Raises
    `AsrLabError` if there is no such model.
    """
    engine, uri = open_engine(store, model, (), folder, decode=decode)
    recognizer = engine.recognizer
    if not recognizer.takes_adapters:
        return ServedModels(engine, uri)
    kind, speakers = recognizer.adapter_kind, _Speakers(engine, folder, registered)
    cache = AdapterCache(
        recognizer.adapter_loader(uri),
        store,
        kind=kind,
        folder=None if kind.folder else folder,
        names=speakers,
    )
    return ServedModels(replace(engine, adapters=cache), uri, speakers)


class _Speakers:
    """The names of adapters that were made for a base, as files and in the registry."""

    def __init__(self, engine: Engine, folder: str, registered: RegisteredRows) -> None:
        self._manager, self._registered = AdapterManager(folder), registered
        self._known = not engine.recognizer.adapter_kind.folder
        self._digest = weights_digest(engine.recognizer.model) if self._known else ""

    def __call__(self) -> set[str]:
        if not self._known:  # which of the registered models are adapters is not recorded
            return set()
        return {name for name in self._manager.names() if self._fits(name)} | set(self._of_registry())

    def _fits(self, name: str) -> bool:
        try:
            digest = self._manager.get_adapter_info(name).base_digest
        except AsrLabError:  # no adapter, or a broken one
            return False
        return digest in ("", self._digest)

    def _of_registry(self) -> Iterable[str]:
        try:
            rows = list(self._registered())
        except AsrLabError:  # the registry does not answer: files can still be used
            return []
        return [str(row["name"]) for row in rows if self._digest.startswith(str(row["base_digest"]))]
