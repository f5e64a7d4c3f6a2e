"""Adapters of many speakers on one base: by name, file or alias, loaded once, the least recently used dropped first.

An alias is asked for again every 30 seconds, also one that was not there, and a name's file is looked at each time: a
moved alias or a replaced file is used from then on, while requests under way keep what they have. If the registry does
not answer, the last known version stays in use.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asr_lab.data.manifest import file_digest
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.models.adapter import AdapterManager
from asr_lab.models.adapter.file import no_adapter
from asr_lab.models.recognizer import AdapterKind, LoadAdapter, SpeakerAdapter

ALIAS_S = 30.0
MOST = 256
"""Adapters in memory, 1.6 MB each with the demo's sizes."""
_OF_A_STORE = ("models:/", "runs:/")


class AdapterStore(Protocol):
    """Where registered adapters are; a `ModelStore` is one."""

    def resolve_version(self, uri: str) -> str:
        """Return an immutable URI; raise `AsrLabError` if there is no such model."""

    def adapter_file(self, uri: str) -> Path:
        """Return the file of a speaker's adapter."""

    def resolve(self, uri: str) -> Path:
        """Return the folder of a model."""


@dataclass(frozen=True)
class VersionedAdapter:
    """A loaded adapter, whose speaker it is, and which version: a registry URI, or a file with its digest."""

    adapter: SpeakerAdapter
    speaker: str
    version: str


class AdapterCache:
    """The adapters of one base; for any number of threads."""

    def __init__(
        self,
        load: LoadAdapter,
        store: AdapterStore | None = None,
        *,
        kind: AdapterKind,
        folder: Path | str | None = "adapters",
        names: Callable[[], Iterable[str]] = tuple,
        most: int = MOST,
        alias_s: float = ALIAS_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` holds the files of names, and allows files; None: only registered ones. `names`: registered ones."""
        self._load, self._store, self._kind = load, store, kind
        self._manager = AdapterManager(folder) if folder is not None else None
        self._names, self._most, self._alias_s, self._clock = names, most, alias_s, clock
        self._loaded: OrderedDict[str, VersionedAdapter] = OrderedDict()
        self._versions: dict[str, tuple[float, str]] = {}
        self._missing: OrderedDict[str, tuple[float, AsrLabError]] = OrderedDict()
        self._listed: tuple[float, set[str]] = (float("-inf"), set())
        self._asking = threading.Lock()
        self.lock: Any = threading.RLock()
        """Held while an adapter is loaded, not while the registry is asked: an engine shares its own."""

    def __len__(self) -> int:
        return len(self._loaded)

    def get(self, wanted: str) -> VersionedAdapter:
        """Return the adapter of a name, file or registry URI.

        Raise `AsrLabError` if it is unknown (with the nearest name), or made for another base or vocabulary.
        """
        if (path := self._local(wanted)) is not None:
            state = path.stat()
            key = f"{path.absolute()}|{state.st_mtime_ns}|{state.st_size}|{state.st_ino}"
            return self._cached(key, lambda: path, self._of_file)
        version = self._version(wanted)
        return self._cached(version, lambda: self._fetched(version), lambda path: self._of_store(path, version))

    def _cached(
        self, key: str, fetch: Callable[[], Path], load: Callable[[Path], VersionedAdapter]
    ) -> VersionedAdapter:
        with self.lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return self._loaded[key]
        path = fetch()
        with self.lock:
            if key not in self._loaded:
                self._loaded[key] = load(path)
            self._loaded.move_to_end(key)
            made = self._loaded[key]
            while len(self._loaded) > self._most:
                self._loaded.popitem(last=False)
            return made

    def _local(self, wanted: str) -> Path | None:
        """Return the file, or model folder, of a name or path; None if it has to be a registered one."""
        if wanted.startswith(_OF_A_STORE) or self._manager is None:
            return None
        if self._kind.folder:
            return Path(wanted) if (Path(wanted) / "config.json").is_file() else None
        if wanted.endswith(".pt"):
            return self._manager.find(wanted)
        path = self._manager.path(wanted)
        return path if path.is_file() else None

    def _of_file(self, path: Path) -> VersionedAdapter:
        adapter = self._load(path)
        if self._kind.folder:
            return VersionedAdapter(adapter, path.name, str(path))
        return VersionedAdapter(adapter, adapter.speaker, f"{path.name}#{file_digest(path)[:12]}")

    def _fetched(self, version: str) -> Path:
        assert self._store is not None
        return self._store.resolve(version) if self._kind.folder else self._store.adapter_file(version)

    def _of_store(self, path: Path, version: str) -> VersionedAdapter:
        adapter = self._load(path)
        name = version.removeprefix("models:/").partition("/")[0]
        return VersionedAdapter(adapter, adapter.speaker or name, version)

    def _version(self, wanted: str) -> str:
        """Return the registered version of a URI or name, asked for at most every `alias_s` seconds.

        While one thread asks, the others go on with the last known version.
        """
        uri = wanted if wanted.startswith(_OF_A_STORE) else f"models:/{self._kind.registered.format(wanted)}@champion"
        asked_at, known = self._versions.get(uri, (float("-inf"), ""))
        if known and self._clock() - asked_at < self._alias_s:
            return known
        self._refuse_missing(uri)
        if not self._asking.acquire(blocking=not known):
            return known
        try:
            self._refuse_missing(uri)  # another thread may have asked meanwhile
            version = self._asked(wanted, uri, known)
        except UnavailableError:
            raise
        except AsrLabError as error:
            self._missing.setdefault(uri, (self._clock(), error))
            while len(self._missing) > self._most:
                self._missing.popitem(last=False)
            raise
        finally:
            self._asking.release()
        self._versions[uri] = (self._clock(), version)
        return version

    def _refuse_missing(self, uri: str) -> None:
        """Raise the error of a URI that the registry did not have a short while ago."""
        asked_at, error = self._missing.get(uri, (float("-inf"), None))
        if error is None:
            return
        if self._clock() - asked_at < self._alias_s:
            raise copy(error) from None
        self._missing.pop(uri, None)

    def _asked(self, wanted: str, uri: str, known: str) -> str:
        if self._store is None:
            raise self._unknown(wanted)
        try:
            return self._store.resolve_version(uri)
        except UnavailableError:
            if known:
                return known
            raise
        except AsrLabError as error:
            if wanted.startswith(_OF_A_STORE):
                raise
            raise self._unknown(wanted) from error

    def _unknown(self, wanted: str) -> AsrLabError:
        names = set(self._manager.names() if self._manager and not self._kind.folder else ())
        asked_at, registered = self._listed
        if self._clock() - asked_at >= min(self._alias_s, ALIAS_S):
            with suppress(AsrLabError):
                registered = set(self._names())
            self._listed = (self._clock(), registered)
        where = str(self._manager.folder) if self._manager else ""
        return no_adapter(wanted, names | registered, where=where)
