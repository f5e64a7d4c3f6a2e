"""The folder that shards are in: of this machine, or behind a URL of fsspec. A file is there whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from asr_lab.data.audio_places import opened_url, size_of, url_of
from asr_lab.errors import AsrLabError, reason
from asr_lab.system.files import atomic_file, explain_unwritable, own_temporary_folder
from asr_lab.system.locks import take_lock
from asr_lab.system.processes import is_gone, process_mark


@dataclass(frozen=True)
class ShardFolder:
    """A folder by its path or URL."""

    root: str

    @classmethod
    def at(cls, given: Path | str) -> ShardFolder:
        """Return the folder of a path, also of a URL that was taken for a path."""
        return cls(url_of(given).rstrip("/") or str(given))

    @property
    def is_remote(self) -> bool:
        return bool(url_of(self.root))

    def file(self, name: str) -> str:
        """Return the path or URL of a file in it."""
        return f"{self.root}/{name}" if self.is_remote else str(Path(self.root, name))

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, -1 if there is none."""
        return size_of(self.file(name))

    def read(self, name: str) -> bytes:
        """Return the contents of a file; raises `AsrLabError` if it cannot be read."""
        try:
            if not self.is_remote:
                return Path(self.file(name)).read_bytes()
            system, path = opened_url(self.file(name))
            found: bytes = system.cat_file(path)
            return found
        except AsrLabError:
            raise
        except FileNotFoundError:
            raise AsrLabError("no such file of the shards", where=self.file(name)) from None
        except Exception as error:  # of any service
            raise AsrLabError(f"the file cannot be read: {reason(error)}", where=self.file(name)) from error

    def remove_temporaries(self, name: str) -> None:
        """Remove what killed processes left in a folder here, which this process alone writes."""
        for path in Path(self.file(name)).glob(".*.writing") if not self.is_remote else ():
            path.unlink(missing_ok=True)

    @contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """Yield where to write a file, which is in the folder once that is done."""
        if not self.is_remote:
            target = Path(self.file(name))
            with explain_unwritable("the shards", Path(self.root)), atomic_file(target, sync=True) as path:
                yield path
            return
        with tempfile.TemporaryDirectory(prefix="asr-lab-shard-") as folder:
            path = Path(folder, name.rpartition("/")[2])
            with explain_unwritable("a shard", Path(folder)):
                yield path
            system, place = opened_url(self.file(name))
            try:
                system.makedirs(place.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), place)
            except Exception as error:  # of any service
                raise AsrLabError(
                    f"the shard cannot be stored: {reason(error)}",
                    where=self.file(name),
                    hint="what was stored before is complete: the same command continues from there",
                ) from error

    @contextmanager
    def locked(self, name: str, *, takes_over: bool = False) -> Iterator[None]:
        """Lock these shards against writers on this and other machines; raises `AsrLabError` if one holds the lock.

        Behind a URL, a lock file names the writer. It is replaced if the writer was a process of this machine that has
        ended; with `takes_over`, also if it was on another machine.
        """
        folder = own_temporary_folder("asr-lab-shards") if self.is_remote else Path(self.root)
        file = self.file(name).replace("/", "+").replace(":", "") if self.is_remote else name
        lock = take_lock(folder / f".{file}.lock")
        if lock is None:
            raise AsrLabError(
                "another process writes these shards",
                where=self.file(name),
                hint="once it has ended, the same command makes what is missing",
            )
        try:
            with self._marked(f"{name}.writing", takes_over) if self.is_remote else nullcontext():
                yield
        finally:
            lock.release()

    @contextmanager
    def _marked(self, name: str, takes_over: bool) -> Iterator[None]:
        """Hold a lock file behind the URL that names this process; no second process can create it."""
        system, place = opened_url(self.file(name))
        mark = process_mark()
        try:
            system.makedirs(place.rpartition("/")[0], exist_ok=True)
            try:
                system.pipe_file(place, mark.encode(), mode="create")
            except FileExistsError:
                writer = self.read(name).decode()
                if not (takes_over or is_gone(writer)):
                    raise _refusal(writer, self.file(name)) from None
                system.pipe_file(place, mark.encode())
        except AsrLabError:
            raise
        except Exception as error:  # of any service
            raise AsrLabError(f"the lock file cannot be stored: {reason(error)}", where=self.file(name)) from error
        try:
            yield
        finally:
            with suppress(Exception):  # the shards are there, or their own error is raised
                if system.cat_file(place) == mark.encode():  # else another process took over
                    system.rm_file(place)


def _refusal(writer: str, where: str) -> AsrLabError:
    host, process, *_ = [*writer.split("|"), "?"]
    return AsrLabError(
        f"process {process} of {host} writes these shards",
        where=where,
        hint="once it has ended, the same command makes what is missing; if it was killed, add --take-over",
    )
