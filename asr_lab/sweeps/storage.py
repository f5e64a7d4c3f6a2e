"""Storage of studies: a journal file on one machine, PostgreSQL for many."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from asr_lab.errors import AsrLabError
from asr_lab.sweeps.storage_locks import AdvisoryLock, FileLock, Lock, RunningProcesses
from asr_lab.system import files
from asr_lab.system.append_log import drop_partial_line
from asr_lab.system.locks import lock_on
from asr_lab.system.processes import is_elsewhere, is_gone, is_in_sight

FOLDER = Path("sweeps")
_FLUSHED = {JournalOperation.CREATE_STUDY, JournalOperation.SET_TRIAL_STATE_VALUES}
_MLFLOW = {"experiments", "runs", "latest_metrics"}  # tables of MLflow that Optuna has none like

Lost = Callable[[Study, FrozenTrial], None]
"""Called with a trial whose process has ended."""


@dataclass(frozen=True)
class StorageLocation:
    """Location of a study: the path of a journal, or `postgresql://...`."""

    uri: str
    heartbeat_s: int = 30

    @property
    def is_database(self) -> bool:
        return "://" in self.uri

    @property
    def shown(self) -> str:
        """The URI without the password."""
        if not self.is_database:
            return self.uri
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def is_there(self) -> bool:
        """Return whether any study was stored there."""
        return self._tables() >= {"studies"} if self.is_database else Path(self.uri).is_file()

    def _tables(self) -> set[str]:
        with self.explain_errors():
            engine = sqlalchemy.create_engine(self.uri)
            try:
                return set(sqlalchemy.inspect(engine).get_table_names())
            finally:
                engine.dispose()

    def check(self, tracking_uri: str) -> None:
        """Raise `AsrLabError` if this is no storage, or MLflow's own database; nothing is written."""
        scheme = self.uri.partition("://")[0] if self.is_database else ""
        if self.is_database and not scheme.startswith("postgresql"):
            raise AsrLabError(
                f"studies cannot be stored in {scheme}",
                where=self.shown,
                allowed="a journal file (its path), or postgresql://USER@HOST/DATABASE for many machines",
            )
        if self.uri == tracking_uri or (not self.is_database and _is_sqlite(Path(self.uri))):
            raise self._is_mlflows()
        if self.is_database:
            if self._tables() >= _MLFLOW:
                raise self._is_mlflows()
        elif not _is_journal(Path(self.uri)):
            raise AsrLabError("the file is not the journal of a study", where=self.uri, allowed="a path that is free")

    def _is_mlflows(self) -> AsrLabError:
        return AsrLabError(
            "this is MLflow's own database: the two would spoil each other's tables",
            where=self.shown,
            allowed="a journal file, or a database of its own: createdb sweeps",
        )

    def open(self, lost: Lost, *, first: bool = False) -> BaseStorage:
        """Open the storage; `first` creates it. `lost` is called for trials whose heartbeat has stopped."""
        if not self.is_database:
            Path(self.uri).parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(_Journal(self.uri))
        with self.explain_errors():
            making = AdvisoryLock(self.uri, "tables of Optuna")  # two that make them at once hinder each other
            if first:
                making.wait()
            try:
                storage = RDBStorage(
                    self.uri,
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=self.heartbeat_s,
                    heartbeat_stale_trial_callback=lost,
                    skip_table_creation=not first,
                )
            finally:
                making.release()
        _in_utc(storage.engine)
        return storage

    def lock(self, name: str) -> Lock:
        """Return a lock of this name, not taken."""
        if self.is_database:
            return AdvisoryLock(self.uri, name)
        return FileLock(self._locks / quote(name, safe=" "))

    @property
    def jobs_folder(self) -> Path:
        """Where the jobs of a sweep write their logs."""
        return FOLDER / "jobs" if self.is_database else Path(f"{self.uri}.jobs")

    @property
    def _locks(self) -> Path:
        return Path(f"{self.uri}.locks")

    def running(self) -> AbstractContextManager[None]:
        """Within it, this process counts as one that runs trials; in a database their heartbeats show it."""
        return nullcontext() if self.is_database else RunningProcesses(self._locks).entered()

    def has_died(self, mark: str) -> bool:
        """Whether a process that ran a trial is gone; in a database, False of other machines: heartbeats show it."""
        if self.is_database:
            return is_in_sight(mark) and is_gone(mark)
        processes = RunningProcesses(self._locks)
        if processes.knows(mark):
            return not processes.is_running(mark)
        return is_elsewhere(mark) or is_gone(mark)

    def now(self) -> float:
        """Return the time in seconds since the epoch by the clock of the storage, one for all machines."""
        if not self.is_database:
            return files.now(Path(self.uri).parent)
        with self.explain_errors():
            engine = sqlalchemy.create_engine(self.uri)
            try:
                with engine.connect() as connection:
                    return float(connection.scalar(sqlalchemy.text("SELECT extract(epoch FROM clock_timestamp())")))
            finally:
                engine.dispose()

    def explain_errors(self) -> _ExplainErrors:
        """Return a context that raises errors of the database as `AsrLabError`."""
        return _ExplainErrors(self)


def _in_utc(engine: sqlalchemy.Engine) -> None:
    """Let all machines write heartbeats in one time zone: Optuna stores them without, and `PGTZ` differs."""

    @sqlalchemy.event.listens_for(engine, "connect")
    def set_zone(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    engine.dispose()  # of those that are open


class _ExplainErrors:
    """Raises database errors as `AsrLabError`."""

    def __init__(self, location: StorageLocation) -> None:
        self.location = location

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SQLAlchemyError | ImportError):
            lines = str(getattr(error, "orig", None) or error).strip().splitlines()
            hint = 'pip install "psycopg[binary]"' if isinstance(error, ImportError) else ""
            raise AsrLabError(
                f"the sweep's database cannot be used: {lines[0] if lines else error}",
                where=self.location.shown,
                hint=hint,
            ) from error


def _is_sqlite(path: Path) -> bool:
    return path.is_file() and path.open("rb").read(15) == b"SQLite format 3"


def _is_journal(path: Path) -> bool:
    """Whether a file is a journal, or none at all."""
    if path.is_dir():
        return False
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        first = file.readline()
    try:
        return "op_code" in json.loads(first)
    except (ValueError, TypeError):
        return not first.endswith(b"\n")  # cut off while its first line was written


class _Journal(JournalFileBackend):
    """Optuna's journal, whose last line may have been cut off by the death of its writer: the next one drops it.

    Optuna itself would write behind it, and never read the file again. It would also wait for the disk nine times a
    trial: here once it has ended, which is when a loss of power may not undo it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)  # whose lock stays unused: left by a dead process, it blocks others for half a minute
        self._lock_file = Path(f"{path}.lock")

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with lock_on(self._lock_file), Path(self._file_path).open("r+b") as file:
            drop_partial_line(file.fileno())
            file.seek(0, os.SEEK_END)
            file.write(lines)
            file.flush()
            if any(log["op_code"] in _FLUSHED for log in logs):
                os.fsync(file.fileno())
