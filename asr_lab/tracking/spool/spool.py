"""A run's events on the local disk until the tracking store has them.

    spool/<id>/header.json   the run's identity and its store
               events.jsonl  one event per line, appended; an incomplete last line is ignored
               files/<name>  copies of artifacts and packaged models that events name
               console/      what the process prints, until it is an artifact
               state.json    progress of the upload, and the run's id on the store
               refused.jsonl events that the store refused, with its reason
               lock          held by the process that records or ships

Independent of MLflow.
"""

from __future__ import annotations

import errno
import json
import os
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
from asr_lab.tracking.clock import Clock
from asr_lab.tracking.spool.header import Header, State
from asr_lab.tracking.spool.journal import Event, Journal
from asr_lab.tracking.spool.refused import Refused

ROOT = Path("spool")
_MOST_POINTS = 5000
_INTACT = "earlier records are intact, and the same command resumes from the last checkpoint"
_CONSOLE = "console"
_HEADER, _EVENTS, _STATE, _REFUSED, _FILES = "header.json", "events.jsonl", "state.json", "refused.jsonl", "files"


class SpoolError(AsrLabError):
    """The spool cannot be written."""


class OutsideError(AsrLabError):
    """An event names a file outside its spool."""


def new_id() -> str:
    """Return an id for a run that the store has not created yet."""
    return uuid.uuid4().hex


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Spool:
    """The spool of one run. Only the process that holds its lock appends or ships."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, folder.name
        self.clock: Clock | None = None
        """Of the times of events; None: this machine's."""
        self.artifact_uri = ""
        """That of a run that this process created and that has nothing but its header's tags yet; else empty."""
        self.header = Header(**json.loads((folder / _HEADER).read_text()))
        self.state = self._read_state()
        self.journal, self._refused = Journal(folder / _EVENTS), Refused(folder / _REFUSED)
        self._lock = FolderLock(folder)

    @classmethod
    def create(cls, root: Path, id: str, header: Header, run_id: str = "") -> Self:
        """Create a spool and lock it; continue one of that id that a dead process left.

        Raises `AsrLabError` if another process holds it, and `LockError` or `SpoolError` if it cannot be written.
        """
        folder = root / id
        new = not (folder / _HEADER).is_file()
        own = folder
        if new:
            with _writing_to(folder):
                own = files.prepare(folder)  # not visible before it is locked
                own.mkdir()
                files.write_text(own / _HEADER, json.dumps(asdict(header)), mode=0o600)
        spool = cls(own)
        try:
            if not spool.lock() or (new and not spool._publish(folder)):
                raise AsrLabError(f"run {id[:8]} is being recorded by another process", where=str(folder))
        except BaseException:
            spool.release()
            if new:
                shutil.rmtree(own, ignore_errors=True)
            raise
        if run_id:
            spool.save(run_id=run_id)
        return spool

    def describe(self, header: Header) -> None:
        """Replace the header, except the start time."""
        self.header = replace(header, started_ms=self.header.started_ms)
        with _writing_to(self.folder):
            files.write_text(self.folder / _HEADER, json.dumps(asdict(self.header)), mode=0o600)

    # the lock

    def lock(self) -> bool:
        """Lock the spool; return False if another holds it. The kernel releases the lock when the process ends.

        Raises `LockError` if it cannot be locked.
        """
        if not self._lock.take():
            return False
        if not (self.folder / _HEADER).is_file():  # it was shipped and removed meanwhile
            self._lock.release()
            return False
        self.state = self._read_state()
        return True

    @property
    def locked(self) -> bool:
        """Whether this process holds the lock."""
        return self._lock.held

    def release(self) -> None:
        """Release the lock."""
        self.journal.close()
        self._lock.release()

    def rename(self, id: str) -> None:
        """Rename the folder to the run's id; only before anything is appended."""
        target = self.folder.with_name(id)
        self._lock.rename(target)
        self.folder, self.id = target, id
        self.journal, self._refused = Journal(target / _EVENTS), Refused(target / _REFUSED)

    def _publish(self, folder: Path) -> bool:
        """Make a new, locked spool visible; return False if another process was faster."""
        with _writing_to(folder):
            try:
                self.rename(folder.name)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                return False
        return True

    # writing

    def append(self, kind: str, **content: Any) -> int:
        """Write an event, and return its time (ms).

        Raises `SpoolError` if the disk is full; earlier events stay valid.
        """
        with _writing_to(self.folder):
            at_ms = self.now_ms()
            self.journal.append(kind, at_ms, content)
            return at_ms

    def now_ms(self) -> int:
        """Return the time that an event would get now."""
        return self.clock.now_ms() if self.clock else now_ms()

    @contextmanager
    def new_files(self) -> Iterator[Path]:
        """Yield a temporary folder for files of an event; it is renamed once they are all written."""
        target = self.folder / _FILES / new_id()[:12]
        with _writing_to(self.folder), files.atomic_folder(target) as written:
            yield written

    @staticmethod
    def path_in_spool(written: Path) -> str:
        """Return the path in the spool of a folder of `new_files`."""
        return f"{_FILES}/{written.name.split('.')[1]}"

    def artifact(self, written: Path, path: str) -> None:
        """Append the event of an artifact, whose file of the same name is in a folder of `new_files`."""
        folder = str(Path(path).parent)
        file = f"{self.path_in_spool(written)}/{Path(path).name}"
        self.append("artifact", file=file, to="" if folder == "." else folder)

    def console(self) -> Path:
        """Return where this process logs what it prints; each process that records the run has a file of its own."""
        return self.folder / _CONSOLE / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.log"

    def seal_console(self) -> None:
        """Make artifacts of what processes printed that log no more; the end of a run stays its last event."""
        for log in sorted((self.folder / _CONSOLE).glob("*.log")) if not self.ended() else ():
            with self.new_files() as written:
                shutil.copy(log, written)
            self.artifact(written, f"{_CONSOLE}/{log.name}")
            log.unlink()

    def file(self, named: str) -> Path:
        """Return the path of a file or folder that an event names, in a folder of `files/`; it may be missing.

        Raises `OutsideError` for a path or link that leads out of the spool: a copied spool may name anything.
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
        """Return the next unshipped events, a few thousand at most."""
        return self.journal.read(self.state.offset)

    def waiting(self) -> int:
        """Return the number of events not shipped, including refused ones."""
        return self.journal.count(self.state.offset) + len(self.refused())

    def points(self) -> dict[str, dict[int, tuple[float, int]]]:
        """Return metric -> step -> (value, ms since 1970) of all events in the spool, shipped or not.

        Of each metric the newest thousands.
        """
        points: dict[str, dict[int, tuple[float, int]]] = {}
        offset = 0
        while events := self.journal.read(offset):
            offset = events[-1].end
            for event in events:
                if event.kind == "metrics":
                    for name, value in event.content["values"].items():
                        points.setdefault(name, {})[int(event.content["step"])] = value, event.at_ms
            for steps in points.values():
                for old in sorted(steps)[:-_MOST_POINTS]:
                    del steps[old]
        return points

    def ended(self) -> str:
        """Return the final status of the run (`FINISHED`, ...), or "" if it was interrupted."""
        last = self.journal.last()
        return str(last.content["status"]) if last and last.kind == "finish" else ""

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    # what is shipped

    def save(self, **changes: Any) -> None:
        """Save the progress of the upload; raises `SpoolError` if it cannot be written."""
        state = replace(self.state, **changes)
        with _writing_to(self.folder):
            files.write_text(self.folder / _STATE, json.dumps(asdict(state)))
        self.state = state

    def _read_state(self) -> State:
        file = self.folder / _STATE
        return State(**json.loads(file.read_text())) if file.is_file() else State()

    def refuse(self, event: Event, why: str) -> None:
        """Add an event that the store refused."""
        with _writing_to(self.folder):
            self._refused.add(event, why)

    def refused(self) -> list[dict[str, Any]]:
        """Return the refused events, each with `why`."""
        return self._refused.all()

    def retry_refused(self, accepts: Callable[[Event], bool]) -> None:
        """Retry the refused events; drop those that `accepts` accepts."""
        self._refused.retry(accepts)

    def remove(self) -> None:
        """Delete the spool; everything is shipped."""
        gone = self.folder.with_name(f".{self.id}.shipped")
        shutil.rmtree(gone, ignore_errors=True)  # an earlier one's, whose process was killed here
        self._lock.rename(gone)  # at once for all who look
        self.release()
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # when it was the last


def spools(
    root: Path,
    wanted: Callable[[Spool], bool] = lambda _: True,
    unreadable: Callable[[Path, Exception], object] = lambda *_: None,
) -> list[Spool]:
    """Return the spools of a folder by start time: a parent precedes its children.

    `unreadable` is called with the folder of each that cannot be read, and why.
    """
    spools = []
    for header in root.glob(f"[!.]*/{_HEADER}"):
        try:
            spools.append(Spool(header.parent))
        except FileNotFoundError:
            continue  # it is being removed
        except (OSError, ValueError, TypeError) as error:
            unreadable(header.parent, error)
    return sorted(filter(wanted, spools), key=lambda spool: spool.header.started_ms)


def sweep(root: Path) -> None:
    """Remove incomplete spools of killed processes; they hold no pending events."""
    for folder in root.glob(".*.shipped"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in root.glob(".*.writing"):
        with suppress(OSError):
            if files.is_left_over(folder):
                shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        root.rmdir()  # when nothing else was there


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Raise `SpoolError` if the folder cannot be written."""
    try:
        yield
    except FileNotFoundError:
        raise  # the source of a copy is missing
    except OSError as error:
        raise SpoolError(
            f"the run cannot be recorded: {error.strerror or error}{files.free_space(folder, error)}",
            where=str(folder),
            hint="; ".join(filter(None, (files.remedy(error), _INTACT))),
            next_command="asr-lab sync" if error.errno in files.FULL else "",
        ) from error
