"""Work that is done once its results are there: each piece by a job, which is submitted again where it is lost.

The folder of the work holds the ids of its jobs, their logs and the results, so that the same work begun by a later
process goes on with the jobs that still wait or run, and does again only what has no result.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asr_lab.engines.crew import reason
from asr_lab.engines.engine import Engine, Task
from asr_lab.errors import AsrLabError
from asr_lab.system.files import explain_unwritable, write_text
from asr_lab.system.locks import FolderLock

LOGS = "logs"
_JOBS = "jobs.json"
_LOOK_EVERY_S = 0.5
_SHORT_S = 60.0
_MOST_SHORT = 3  # losses of a piece within so short a time: it dies of itself
_NOT_AGAIN = {
    "CANCELLED": "it was cancelled",
    "OUT_OF_MEMORY": "its memory was too little: --resources=memory_gb=N",
}
"""What Slurm says of jobs that are not submitted again."""


@dataclass(frozen=True)
class Piece:
    """A command line, and the file that is there once it has ended well."""

    name: str
    command: Sequence[str]
    result: Path


@dataclass
class _Job:
    """The job of a piece."""

    piece: Piece
    task: Task
    began: float
    shown: int = 0
    """Bytes of its log that were shown."""


class Work:
    """Pieces that jobs of one engine do."""

    def __init__(
        self, engine: Engine, folder: Path, pieces: Sequence[Piece], report: Callable[[str], None], *, shows: bool,
        most: int = 0,
    ) -> None:  # fmt: skip
        """`report` takes a line; with `shows` also those of the logs. At `most` so many jobs are there at a time; 0:
        one for each piece. Raises `AsrLabError` if another process waits for this work, or the folder cannot be made.
        """
        self.engine, self.folder, self.pieces, self._report, self._shows = engine, folder, pieces, report, shows
        self._most = most or len(pieces)
        self._jobs: dict[str, _Job] = {}
        self._short: dict[str, int] = {}
        with explain_unwritable("the folder of these jobs", folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FolderLock(folder)
        if not self._lock.take():
            raise AsrLabError("another process waits for these jobs", where=str(folder))

    def submit(self) -> None:
        """Continue with the jobs of an earlier process, and submit those that are missing. Raises `AsrLabError`."""
        self._adopt()
        self._start_missing()

    def _start_missing(self) -> None:
        missing = [one for one in self.pieces if one.name not in self._jobs and not one.result.exists()]
        if next_ones := missing[: self._most - len(self._jobs)]:
            self._start(next_ones)

    def _adopt(self) -> None:
        noted = json.loads(file.read_text()) if (file := self.folder / _JOBS).is_file() else {}
        for piece in self.pieces:
            engine, id, log = noted.get(piece.name, ("", "", ""))
            if engine != self.engine.name:
                continue
            task = self.engine.watch(id)
            task.log = Path(log)
            job = _Job(piece, task, time.monotonic())
            if piece.result.exists():
                self._show([job], ended=True)
            elif task.state() in ("waiting", "running"):
                self._jobs[piece.name] = job
                self._report(f"{piece.name}: going on with job {_shown(task)}, {log}")

    def _start(self, pieces: Sequence[Piece]) -> None:
        tasks = self.engine.submit_all([piece.command for piece in pieces])
        now = time.monotonic()
        self._jobs |= {piece.name: _Job(piece, task, now) for piece, task in zip(pieces, tasks, strict=True)}
        self._note()
        for piece, task in zip(pieces, tasks, strict=True):
            self._report(f"{piece.name}: job {_shown(task)} of {self.engine.name}, {task.log}")

    def _note(self) -> None:
        ids = {name: (self.engine.name, job.task.id, str(job.task.log)) for name, job in self._jobs.items()}
        write_text(self.folder / _JOBS, json.dumps(ids))

    def wait(self) -> None:
        """Wait until all results are there; submit again what is lost. Raise `AsrLabError` if a job gives up."""
        while self._jobs:
            time.sleep(_LOOK_EVERY_S)
            over = [job for job in self._jobs.values() if job.task.state() not in ("waiting", "running")]
            self._show(self._jobs.values())
            for job in over:
                self._check_end(job)
                del self._jobs[job.piece.name]
            if over:
                self._start_missing()

    def _check_end(self, job: _Job) -> None:
        """Report whether a job left its result, or was lost. Raises `AsrLabError` of others."""
        piece, task = job.piece, job.task
        if piece.result.exists():
            self._show([job], ended=True)
            if len(self.pieces) > 1:
                self._report(f"{piece.name}: done")
            return
        if task.state() == "ended" and task.exit_code() in (0, 1, 2):
            why = reason(task)
            raise AsrLabError(why.replace("\n    ", "\n"), where="" if "\n" in why else str(task.log))
        why = task.why()
        if why in _NOT_AGAIN:
            raise AsrLabError(f"job {_shown(task)} is over: {_NOT_AGAIN[why]}", where=str(task.log))
        self._short[piece.name] = self._short.get(piece.name, 0) + 1 if time.monotonic() - job.began < _SHORT_S else 0
        if self._short[piece.name] >= _MOST_SHORT:
            raise AsrLabError(f"{piece.name}: its job was lost {_MOST_SHORT} times", where=str(task.log), hint=why)
        self._report(f"{piece.name}: job {_shown(task)} was lost{f' ({why})' if why else ''}, submitted again")

    def _show(self, jobs: Iterable[_Job], *, ended: bool = False) -> None:
        for job in jobs if self._shows else ():
            self._show_log(job, ended=ended)

    def _show_log(self, job: _Job, *, ended: bool) -> None:
        """Report the complete lines that its log has had since, until `ended` up to an error: its end may raise it."""
        with suppress(OSError), job.task.log.open("rb") as file:
            file.seek(job.shown)
            for line in file:
                if not line.endswith(b"\n") or (line.startswith(b"Error: ") and not ended):
                    return
                job.shown += len(line)
                if not line.startswith(b"submitit "):
                    self._report(line.decode(errors="replace").rstrip("\r\n"))

    @property
    def numbers(self) -> list[str]:
        """The numbers of its jobs."""
        return [_shown(job.task) for job in self._jobs.values()]

    def cancel(self) -> int:
        """Cancel all jobs, and wait for their end; return how many there were."""
        tasks = [job.task for job in self._jobs.values() if job.task.state() in ("waiting", "running")]
        for task in tasks:
            task.cancel()
        for task in tasks:
            task.wait(_SHORT_S)
        return len(tasks)

    def leave(self) -> None:
        """Let another process wait for these jobs; nothing is left of work of which none was submitted."""
        if not (self.folder / _JOBS).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def remove(self) -> None:
        """Remove the folder, once its results were taken."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _shown(task: Task) -> str:
    """Return the number of a job: of a process of this machine, that one."""
    return str(task.pid) if "|" in task.id and task.pid else task.id.partition("|")[2].partition("|")[0] or task.id
