"""A run's events on the local disk, before and until the tracking store has them.

    spool/<id>/header.json   what the run is, and the store it is meant for
               events.jsonl  one event a line, appended; a last line that was cut off does not count
               files/<name>  copies of artifacts and packaged models that events name
               state.json    how far the store has got, and the run's id there
               refused.jsonl events that the store will never take, with its reason
               lock          held by the process that records or ships

Nothing here knows MLflow.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from asr_lab.errors import AsrLabError
from asr_lab.tracking.spool.journal import Event, Journal

ROOT = Path("spool")
_HEADER, _EVENTS, _STATE, _REFUSED, _LOCK = "header.json", "events.jsonl", "state.json", "refused.jsonl", "lock"
_held: set[Path] = set()  # POSIX locks do not hold between the threads of one process


class SpoolError(AsrLabError):
    """This disk does not take what is recorded."""


def new_id() -> str:
    """An id of a run that no server has given one yet."""
    return uuid.uuid4().hex


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Header:
    """What the run is; enough to make it on a store, and to know it again when its process was killed."""

    uri: str
    """The tracking store it was started for."""
    family: str
    kind: str
    signature: str
    name: str
    """Without the id's part."""
    started_ms: int
    tags: Mapping[str, str]
    process: str


@dataclass(frozen=True)
class State:
    """How far the store has got."""

    run_id: str = ""
    """On the store; empty until the run is there."""
    offset: int = 0
    """Bytes of the events that are shipped."""
    attempts: int = 0
    """How often the run was about to be made: an answer may have been lost."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Path in the spool -> URI on the store."""


class Spool:
    """The spool of one run. Only the process that holds its lock appends to it or ships it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, folder.name
        self.header = Header(**json.loads((folder / _HEADER).read_text()))
        self.state = self._read_state()
        self.journal = Journal(folder / _EVENTS)
        self._lock_file = -1

    @classmethod
    def create(cls, root: Path, id: str, header: Header, run_id: str = "") -> Self:
        """A new spool, locked by this process; one of that id that was left by a dead process is gone on with.

        Raises `AsrLabError` when another process has it, or the disk has no room.
        """
        folder = root / id
        if not (folder / _HEADER).is_file():
            aside = root / f".{id}.writing"  # nobody ships it before it is ours
            with _writing_to(folder):
                aside.mkdir(parents=True)
                write_aside(aside / _HEADER, json.dumps(asdict(header)))
            spool = cls(aside)
            spool.lock()
            spool.rename(id)
        else:
            spool = cls(folder)
            if not spool.lock():
                raise AsrLabError(f"run {id[:8]} is being recorded by another process", where=str(folder))
        if run_id:
            spool.save(run_id=run_id)
        return spool

    def describe(self, header: Header) -> None:
        """Say who records from now on; when the run began stays."""
        self.header = replace(header, started_ms=self.header.started_ms)
        with _writing_to(self.folder):
            write_aside(self.folder / _HEADER, json.dumps(asdict(self.header)))

    # the lock

    def lock(self) -> bool:
        """Take the spool for this process; False when it is taken. The kernel frees it when the process dies."""
        path = self.folder.resolve()
        if path in _held:
            return False
        try:
            file = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return False
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: a forked loader would inherit that
        except OSError:
            os.close(file)
            return False
        if not (path / _HEADER).is_file():  # it was shipped and removed meanwhile
            os.close(file)
            return False
        _held.add(path)
        self._lock_file = file
        self.state = self._read_state()
        return True

    @property
    def locked(self) -> bool:
        """Whether this process has it."""
        return self._lock_file >= 0

    def release(self) -> None:
        """Let others have it."""
        self.journal.close()
        if self._lock_file >= 0:
            _held.discard(self.folder.resolve())
            os.close(self._lock_file)
            self._lock_file = -1

    def rename(self, id: str) -> None:
        """Give the folder the name of the run's id; before anything is appended."""
        target = self.folder.with_name(id)
        self.folder.rename(target)
        _held.discard(self.folder.parent.resolve() / self.id)
        self.folder, self.id = target, id
        self.journal = Journal(target / _EVENTS)
        _held.add(target.resolve())

    # writing

    def append(self, kind: str, **content: Any) -> int:
        """Write an event with the time of now, which is returned (ms).

        Raises `SpoolError` when the disk has no room; what was written before stays whole.
        """
        with _writing_to(self.folder):
            at_ms = now_ms()
            self.journal.append(kind, at_ms, content)
            return at_ms

    @contextmanager
    def putting(self) -> Iterator[Path]:
        """A new folder for files an event will name; it gets its name once they are all written."""
        target = self.folder / "files" / new_id()[:12]
        aside = target.with_name(f".{target.name}.writing")
        try:
            with _writing_to(self.folder):
                aside.mkdir(parents=True)
                yield aside
                aside.rename(target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    @staticmethod
    def put(aside: Path) -> str:
        """The path under the spool of what was written to `aside`."""
        return f"files/{aside.name.removeprefix('.').removesuffix('.writing')}"

    # reading

    def read(self) -> list[Event]:
        """The next events that are not shipped, a few thousand at most; empty when there are none."""
        return self.journal.read(self.state.offset)

    def waiting(self) -> int:
        """How many events are not shipped; those that were refused among them."""
        return self.journal.count(self.state.offset) + len(self.refused())

    def ended(self) -> str:
        """The status of a run that has ended (`FINISHED`, ...), or "" for one that was cut off."""
        last = self.journal.last()
        return str(last.content["status"]) if last and last.kind == "finish" else ""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    # what is shipped

    def save(self, **changes: Any) -> None:
        """Note how far the store has got."""
        self.state = replace(self.state, **changes)
        write_aside(self.folder / _STATE, json.dumps(asdict(self.state)))

    def _read_state(self) -> State:
        file = self.folder / _STATE
        return State(**json.loads(file.read_text())) if file.is_file() else State()

    def refuse(self, event: Event, why: str) -> None:
        """Set an event aside that the store will not take."""
        line = {"kind": event.kind, "at": event.at_ms, "why": why, **event.content}
        with (self.folder / _REFUSED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def refused(self) -> list[dict[str, Any]]:
        """The events that were set aside, with `why`."""
        file = self.folder / _REFUSED
        return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []

    def try_refused(self, taken: Callable[[Event], bool]) -> None:
        """Offer what was set aside again; what is `taken` goes from the list."""
        rest = [line for line in self.refused() if not taken(Event.of(line))]
        if rest:
            write_aside(self.folder / _REFUSED, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rest))
        else:
            (self.folder / _REFUSED).unlink(missing_ok=True)

    def remove(self) -> None:
        """Everything is shipped: the folder goes."""
        gone = self.folder.with_name(f".{self.id}.shipped")
        self.folder.rename(gone)  # at once for all who look
        _held.discard(self.folder.parent.resolve() / self.id)
        self.release()
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # when it was the last


def write_aside(file: Path, content: str) -> None:
    """Write a file whole or not at all."""
    aside = file.with_name(f".{file.name}.writing")
    aside.write_text(content, encoding="utf-8")
    aside.replace(file)


def spools(root: Path, wanted: Callable[[Spool], bool] = lambda _: True) -> list[Spool]:
    """The spools of a folder, in the order in which their runs began: a parent stands before its children."""
    found = []
    for header in root.glob(f"[!.]*/{_HEADER}"):
        with suppress(OSError, ValueError, TypeError):  # it is being removed
            found.append(Spool(header.parent))
    return sorted(filter(wanted, found), key=lambda spool: spool.header.started_ms)


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Around the writing of spools: one message where the disk has no room for them."""
    try:
        yield
    except FileNotFoundError:
        raise  # what should be copied is not there
    except OSError as error:
        place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
        free = shutil.disk_usage(place).free
        raise SpoolError(
            f"the run cannot be recorded: {error.strerror or error} ({free / 1e6:,.0f} MB are free)",
            where=str(folder),
            hint="what was recorded before is whole: make room, and the same command goes on from the last checkpoint",
            next_command="asr-lab sync",
        ) from error
