"""One process at a time: locks on files, which the kernel frees when their process dies.

They are `flock` locks. A forked child has no part in them (filelock closes its copy of the descriptor), so one that
outlives a killed training does not hold the lock of its run. Started programs do not inherit them either.

Where a file system has no locks, there is no substitute: a file that stands for a lock outlives its process, and no
other machine can tell. It is refused there, with the way to a local disk.
"""

from __future__ import annotations

import fcntl
import shlex
import tempfile
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, BaseFileLock, FileLock, Timeout

from asr_lab.errors import AsrLabError
from asr_lab.system.files import LOCKLESS, remedy

LOCK = "lock"
"""The file that a folder is locked by."""

_POLL_S = 0.01


class LockError(AsrLabError):
    """A file cannot be locked, whoever else may want to."""

    def __init__(self, error: OSError, folder: Path) -> None:
        """`folder`: what to move to a local disk where the file system has no locks."""
        lockless = error.errno in LOCKLESS
        name = shlex.quote(str(folder))
        super().__init__(
            f"{folder} cannot be locked: {error.strerror or error}",
            where=str(error.filename or folder.absolute()),
            hint=remedy(error),
            next_command=f"d=$(mktemp -d -p /var/tmp) && mv {name} $d/moved && ln -s $d/moved {name}"
            if lockless
            else "",
        )


class _Lock(FileLock):
    """Raises `LockError`, or filelock's `Timeout` when another process has it."""

    def acquire(self, *arguments: Any, **options: Any) -> AcquireReturnProxy[Any]:
        try:
            return super().acquire(*arguments, **options)
        except Timeout:
            raise
        except OSError as error:
            raise LockError(error, Path(self.lock_file).parent) from error


def lock_on(file: Path) -> BaseFileLock:
    """A lock to wait for: `with lock_on(file): ...`; threads exclude each other too. Entering raises `LockError`."""
    return _Lock(file, poll_interval=_POLL_S, fallback_to_soft=False)


def take_lock(file: Path) -> BaseFileLock | None:
    """Take the lock of a file, whose folder is made; None when another one has it. Raises `LockError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = _Lock(file, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def lock_failure(folder: Path) -> OSError | None:
    """Return why the file system of a folder has no POSIX locks, which SQLite needs; None if it has them."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error if error.errno in LOCKLESS else None
    return None


class FolderLock:
    """The lock of one folder, which is taken or not taken, never waited for: one process has it, and one object there.

    The folder may be renamed while it is held.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: BaseFileLock | None = None

    def take(self) -> bool:
        """Take it; False when it is taken, or the folder is gone. Raises `LockError` where it cannot be locked."""
        file = self.folder / LOCK
        if self.held or not self.folder.is_dir():
            return False
        lock = FileLock(file, timeout=0, thread_local=False, mode=0o644, fallback_to_soft=False)
        try:
            _refuse_older(file)
            lock.acquire()
        except (Timeout, BlockingIOError):
            return False
        except OSError as error:
            if self.folder.is_dir():
                raise LockError(error, self.folder.parent) from error
            return False
        self._lock = lock
        return True

    @property
    def held(self) -> bool:
        """Whether this object has it."""
        return self._lock is not None and self._lock.is_locked

    def release(self) -> None:
        """Let others have it."""
        if self._lock:
            self._lock.release()
            self._lock = None

    def rename(self, target: Path) -> None:
        """Rename the folder, and keep its lock."""
        self.folder.rename(target)
        self.folder = target


def _refuse_older(file: Path) -> None:
    """Raise `BlockingIOError` where an earlier version has the lock: `flock` does not see its kind (`lockf`)."""
    if file.exists():
        with file.open("r+b") as opened:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
