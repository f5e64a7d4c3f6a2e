"""Locks beside a storage of studies, which die with the process that has them, whatever a clock says.

In PostgreSQL an advisory lock of an open transaction, beside a journal a lock on a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import sqlalchemy
from filelock import BaseFileLock
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from asr_lab.system.locks import take_lock
from asr_lab.system.processes import process_mark

_SETTINGS = {
    "tcp_keepalives_idle": 20,  # a machine that lost its power leaves a connection that nobody closes:
    "tcp_keepalives_interval": 10,  # the server notices it within a minute, and not after two hours
    "tcp_keepalives_count": 4,
    "idle_in_transaction_session_timeout": 0,
}


class Lock(Protocol):
    """A lock that one process has."""

    def take(self) -> bool:
        """Take it, or have it already; False if another process has it."""

    def release(self) -> None:
        """Let others have it."""


class FileLock:
    """The lock of a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock: BaseFileLock | None = None

    def take(self) -> bool:
        self._lock = self._lock or take_lock(self._file)
        return self._lock is not None

    def release(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None


class AdvisoryLock:
    """A lock of a PostgreSQL database, by name; a connection that is lost has lost it."""

    def __init__(self, uri: str, name: str) -> None:
        self._engine = sqlalchemy.create_engine(uri, poolclass=NullPool)
        digest = hashlib.sha256(f"asr_lab {name}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._connection: sqlalchemy.Connection | None = None

    def take(self) -> bool:
        """Raises SQLAlchemy's errors."""
        if self._connection:
            with suppress(SQLAlchemyError):
                self._connection.execute(sqlalchemy.text("SELECT 1"))
                return True
            self.release()
        return bool(self._lock("SELECT pg_try_advisory_xact_lock(:key)"))

    def wait(self) -> None:
        """Take it once no other process has it."""
        self._lock("SELECT pg_advisory_xact_lock(:key), true")

    def _lock(self, statement: str) -> bool:
        connection = self._engine.connect()
        try:
            for name, value in _SETTINGS.items():
                connection.execute(sqlalchemy.text(f"SET LOCAL {name} = {value}"))
            taken = bool(connection.execute(sqlalchemy.text(statement), {"key": self._key}).one()[-1])
        except BaseException:
            connection.close()
            raise
        if taken:
            self._connection = connection
        else:
            connection.close()
        return taken

    def release(self) -> None:
        if self._connection:
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None


class RunningProcesses:
    """Which processes run trials of a journal: each has the lock of a file that bears its mark."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this process count as running; inside of another one for the same journal, nothing."""
        file = self._folder / process_mark()
        lock = take_lock(file)
        try:
            yield
        finally:
            if lock:
                file.unlink(missing_ok=True)
                lock.release()

    def knows(self, mark: str) -> bool:
        """Whether a process is running, or was not seen to end yet."""
        return "/" not in mark and (self._folder / mark).is_file()

    def is_running(self, mark: str) -> bool:
        """Whether a process is running."""
        if not self.knows(mark):
            return False
        file = self._folder / mark
        lock = take_lock(file)
        if lock:
            file.unlink(missing_ok=True)
            lock.release()
        return lock is None
