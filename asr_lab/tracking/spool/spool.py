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

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from asr_lab.errors import AsrLabError
from asr_lab.system import files
from asr_lab.system.locks import FolderLock
from asr_lab.tracking.spool.header import Header, State
from asr_lab.tracking.spool.journal import Event, Journal
from asr_lab.tracking.spool.refused import Refused

ROOT = Path("spool")
_HEADER, _EVENTS, _STATE, _REFUSED, _FILES = "header.json", "events.jsonl", "state.json", "refused.jsonl", "files"


class SpoolError(AsrLabError):
    """This disk does not take what is recorded."""


class OutsideError(AsrLabError):
    """An event names a file that is not the spool's own."""


def new_id() -> str:
    """An id of a run that no server has given one yet."""
    return uuid.uuid4().hex


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Spool:
    """The spool of one run. Only the process that holds its lock appends to it or ships it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, folder.name
        self.header = Header(**json.loads((folder / _HEADER).read_text()))
        self.state = self._read_state()
        self.journal, self._refused = Journal(folder / _EVENTS), Refused(folder / _REFUSED)
        self._lock = FolderLock(folder)

    @classmethod
    def create(cls, root: Path, id: str, header: Header, run_id: str = "") -> Self:
        """A new spool, locked by this process; one of that id that was left by a dead process is gone on with.

        Raises `AsrLabError` when another process has it, or the disk has no room.
        """
        folder = root / id
        new = not (folder / _HEADER).is_file()
        own = folder
        if new:
            with _writing_to(folder):
                own = files.prepare(folder)  # nobody ships it before it is ours
                own.mkdir()
                files.write_text(own / _HEADER, json.dumps(asdict(header)), mode=0o600)
        spool = cls(own)
        try:
            if not spool.lock():
                raise BlockingIOError
            if new:
                spool.rename(id)
        except OSError as error:  # another one was faster
            spool.release()
            if new:
                shutil.rmtree(own, ignore_errors=True)
            raise AsrLabError(f"run {id[:8]} is being recorded by another process", where=str(folder)) from error
        if run_id:
            spool.save(run_id=run_id)
        return spool

    def describe(self, header: Header) -> None:
        """Say who records from now on; when the run began stays."""
        self.header = replace(header, started_ms=self.header.started_ms)
        with _writing_to(self.folder):
            files.write_text(self.folder / _HEADER, json.dumps(asdict(self.header)), mode=0o600)

    # the lock

    def lock(self) -> bool:
        """Take the spool for this process; False when it is taken. The kernel frees it when the process dies."""
        if not self._lock.take():
            return False
        if not (self.folder / _HEADER).is_file():  # it was shipped and removed meanwhile
            self._lock.release()
            return False
        self.state = self._read_state()
        return True

    @property
    def locked(self) -> bool:
        """Whether this process has it."""
        return self._lock.held

    def release(self) -> None:
        """Let others have it."""
        self.journal.close()
        self._lock.release()

    def rename(self, id: str) -> None:
        """Give the folder the name of the run's id; before anything is appended."""
        target = self.folder.with_name(id)
        self._lock.rename(target)
        self.folder, self.id = target, id
        self.journal, self._refused = Journal(target / _EVENTS), Refused(target / _REFUSED)

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
    def new_files(self) -> Iterator[Path]:
        """A new folder for files an event will name; it gets its name once they are all written."""
        target = self.folder / _FILES / new_id()[:12]
        with _writing_to(self.folder), files.whole_folder(target) as written:
            yield written

    @staticmethod
    def path_in_spool(written: Path) -> str:
        """The path under the spool of what was `written` to the folder of `putting`."""
        return f"{_FILES}/{written.name.split('.')[1]}"

    def file(self, named: str) -> Path:
        """What an event names, a file or folder in a folder of `files/`; it may be gone.

        Raises `OutsideError` for a path or a link that leads elsewhere: a spool that was copied from somewhere may
        name anything.
        """
        own = self.folder.resolve() / _FILES
        path = (self.folder / named).resolve()
        if not path.is_relative_to(own) or len(path.relative_to(own).parts) < 2:
            raise OutsideError(f"{named!r} is not a file of the spool")
        for inner in path.rglob("*"):
            if inner.is_symlink():
                raise OutsideError(f"{named!r} has a link in it: {inner.name}")
        return self.folder / path.relative_to(self.folder.resolve())

    # reading

    def read(self) -> list[Event]:
        """The next events that are not shipped, a few thousand at most; empty when there are none."""
        return self.journal.read(self.state.offset)

    def waiting(self) -> int:
        """How many events are not shipped; those that were refused among them."""
        return self.journal.count(self.state.offset) + len(self.refused())

    def last_steps(self) -> dict[str, int]:
        """Metric -> the last step at which it was logged, of all events that are still here, shipped or not."""
        found: dict[str, int] = {}
        offset = 0
        while events := self.journal.read(offset):
            offset = events[-1].end
            for event in events:
                if event.kind == "metrics":
                    step = int(event.content["step"])
                    found |= {name: max(step, found.get(name, step)) for name in event.content["values"]}
        return found

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
        files.write_text(self.folder / _STATE, json.dumps(asdict(self.state)))

    def _read_state(self) -> State:
        file = self.folder / _STATE
        return State(**json.loads(file.read_text())) if file.is_file() else State()

    def refuse(self, event: Event, why: str) -> None:
        """Set an event aside that the store will not take."""
        self._refused.add(event, why)

    def refused(self) -> list[dict[str, Any]]:
        """The events that were set aside, with `why`."""
        return self._refused.all()

    def retry_refused(self, accepts: Callable[[Event], bool]) -> None:
        """Offer what was set aside again; what is `taken` goes from the list."""
        self._refused.retry(accepts)

    def remove(self) -> None:
        """Everything is shipped: the folder goes."""
        gone = self.folder.with_name(f".{self.id}.shipped")
        shutil.rmtree(gone, ignore_errors=True)  # an earlier one's, whose process was killed here
        self._lock.rename(gone)  # at once for all who look
        self.release()
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # when it was the last


def spools(root: Path, wanted: Callable[[Spool], bool] = lambda _: True) -> list[Spool]:
    """The spools of a folder, in the order in which their runs began: a parent stands before its children."""
    found = []
    for header in root.glob(f"[!.]*/{_HEADER}"):
        with suppress(OSError, ValueError, TypeError):  # it is being removed
            found.append(Spool(header.parent))
    return sorted(filter(wanted, found), key=lambda spool: spool.header.started_ms)


def sweep(root: Path) -> None:
    """Remove what processes that were killed left half made or half removed; nothing of it is waiting."""
    for folder in root.glob(".*.shipped"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in root.glob(".*.writing"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > files.LEFT_OVER_S:
                shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        root.rmdir()  # when nothing else was there


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
