"""One process at a time: locks on files, which the kernel frees when their process dies.

They are `flock` locks. A forked child has no part in them (filelock closes its copy of the descriptor), so a loader's
worker that outlives a killed training does not hold the lock of its run. What another program runs does not inherit
them either.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from filelock import BaseFileLock, FileLock

LOCK = "lock"
"""The file that a folder is locked by."""

_POLL_S = 0.01


def lock_on(file: Path) -> BaseFileLock:
    """A lock to wait for: `with lock_on(file): ...`; threads exclude each other too."""
    return FileLock(file, poll_interval=_POLL_S)


class FolderLock:
    """The lock of one folder, which is taken or not taken, never waited for: one process has it, and one object there.

    The folder may be renamed while it is held.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: BaseFileLock | None = None

    def take(self) -> bool:
        """Take it; False when it is taken, or the folder is gone or cannot be written."""
        file = self.folder / LOCK
        if self.held or not self.folder.is_dir():
            return False
        lock = FileLock(file, timeout=0, thread_local=False, mode=0o644)
        try:
            _refuse_older(file)
            lock.acquire()
        except OSError:  # filelock's `Timeout` too
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
    """Raise `OSError` where an earlier version has the lock: its kind (`lockf`) is one that `flock` does not see."""
    if file.exists():
        with file.open("r+b") as opened:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
