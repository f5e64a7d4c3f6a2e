"""A log of what this process prints: as the terminal shows it in the end, without the steps of progress bars."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

_CONTROLS = re.compile(r"(\r(?!\n)|\n|\x1b\[\d*A|\x1b\[2K)")
_OTHERS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f]")
_MOST = 1_000_000  # bytes of a log; then its middle goes
_ENDS = 250_000
_MIDDLE = b"[... the middle of this log is left out ...]\n"
_BEFORE = 500  # lines that are remembered before there is a file


class ConsoleLog:
    """Receives what the streams are sent; its complete lines are in the file at once, and survive a `kill -9`."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_BEFORE)
        """Before there is a file."""
        self._starts: deque[int] = deque(maxlen=100)
        """Where the last lines of the file start."""
        self._current = ""
        self._file = -1
        self._size = 0
        self._mask: Callable[[str], str] = str
        self._lock = threading.RLock()

    def open(self, path: Path, mask: Callable[[str], str]) -> None:
        """Write to a file, first what was printed before; `mask` hides what is secret in a line. Raises `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.close()
        with self._lock:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size, self._mask = os.fstat(self._file).st_size, mask
            self._starts.clear()
            while self._lines:
                self._commit(self._lines.popleft())

    def close(self) -> None:
        """Write to no file any more."""
        with self._lock:
            if self._file >= 0:
                if self._current:
                    with suppress(OSError):
                        self._commit(self._current)
                os.close(self._file)
                self._file, self._current = -1, ""

    def add(self, text: str) -> None:
        """Add what was printed, and play the terminal: carriage return, erase, cursor up."""
        with self._lock, suppress(OSError):  # a full disk ends no training
            for part in _CONTROLS.split(text):
                if part == "\n":
                    line, self._current = self._current, ""
                    self._commit(line)
                elif part.endswith("A") and part.startswith("\x1b"):
                    self._take_back(int(part[2:-1] or 1))
                elif part in ("\r", "\x1b[2K"):
                    self._current = ""
                else:
                    self._current = (self._current + _OTHERS.sub("", part))[-10_000:]

    def _commit(self, line: str) -> None:
        if self._file < 0:
            self._lines.append(line)
            return
        data = self._mask(line.rstrip()).encode(errors="replace") + b"\n"
        self._starts.append(self._size)
        self._size += os.write(self._file, data)
        if self._size > _MOST:
            self._cut()

    def _take_back(self, lines: int) -> None:
        """Drop the last lines, which a progress bar is about to write again."""
        self._current = ""
        for _ in range(lines):
            if self._file < 0 and self._lines:
                self._lines.pop()
            elif self._file >= 0 and self._starts:
                self._size = self._starts.pop()
                os.ftruncate(self._file, self._size)

    def _cut(self) -> None:
        tail = os.pread(self._file, _ENDS, self._size - _ENDS)
        os.ftruncate(self._file, _ENDS)
        self._size = _ENDS + os.write(self._file, b"\n" + _MIDDLE + tail[tail.find(b"\n") + 1 :])
        self._starts.clear()


class _Stream:
    """A text stream that a log reads along; everything else is that of the stream itself."""

    def __init__(self, stream: TextIO, log: ConsoleLog) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._log.add(text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


_log = ConsoleLog()


def listen() -> ConsoleLog:
    """Let the log of this process read along what is printed from here on; again where the streams were replaced."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Stream):
            setattr(sys, name, _Stream(stream, _log))
    return _log
