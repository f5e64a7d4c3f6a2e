"""The lock of a folder: one process has it, and one thread of that."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_NAME = "lock"
_held: set[Path] = set()  # POSIX locks do not hold between the threads of one process


class Lock:
    """Of one folder. The kernel frees it when the process dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = -1

    def take(self) -> bool:
        """Take it for this process; False when it is taken, or the folder is gone."""
        path = self.folder.resolve()
        if path in _held:
            return False
        try:
            file = os.open(path / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return False
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: a forked loader would inherit that
        except OSError:
            os.close(file)
            return False
        _held.add(path)
        self._file = file
        return True

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file >= 0

    def release(self) -> None:
        """Let others have it."""
        if self._file >= 0:
            _held.discard(self.folder.resolve())
            os.close(self._file)
            self._file = -1

    def rename(self, target: Path) -> None:
        """Rename the folder, and keep the lock of it."""
        before = self.folder.resolve()
        self.folder.rename(target)
        self.folder = target
        if self.held:
            _held.discard(before)
            _held.add(target.resolve())
