"""A file of events, one JSON object per line, that survives a crash of its writer."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_lab.system.append_log import drop_partial_line, write_complete

_CHUNK = 4_000_000  # bytes read at a time: about 8,000 events of ten metrics


@dataclass(frozen=True)
class Event:
    """One line: `kind`, time, content, and the offset after it; kind "" cannot be parsed."""

    kind: str
    at_ms: int
    content: Mapping[str, Any]
    end: int

    @classmethod
    def of(cls, line: Mapping[str, Any], end: int = 0) -> Event:
        """Make an event of a JSON object."""
        content = {key: value for key, value in line.items() if key not in ("kind", "at", "why")}
        return cls(str(line["kind"]), int(line["at"]), content, end)

    @classmethod
    def parsed(cls, line: bytes, end: int) -> Event:
        """Parse a line."""
        try:
            return cls.of(json.loads(line), end)
        except (ValueError, KeyError, TypeError):
            return cls("", 0, {}, end)  # a power cut may leave such a line


class Journal:
    """Append to the file and read it from any offset; an incomplete last line is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._writing = threading.Lock()
        self._dirty = False

    def append(self, kind: str, at_ms: int, content: Mapping[str, Any]) -> None:
        """Write an event: it survives this process, and after `sync` the machine.

        Raises `OSError` if the disk is full; then nothing of the event is written.
        """
        line = json.dumps({"kind": kind, "at": at_ms, **content}, separators=(",", ":"), ensure_ascii=False)
        with self._writing:
            if self._file < 0:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
                drop_partial_line(self._file)
            write_complete(self._file, line.encode() + b"\n")
            self._dirty = True

    def sync(self) -> None:
        """Flush what was appended to the disk."""
        if self._dirty and self._file >= 0:
            self._dirty = False
            with suppress(OSError):
                os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def end(self) -> int:
        """The offset after the last event."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_size
        return 0

    def read(self, offset: int) -> list[Event]:
        """Return the next events from an offset, a few thousand at most."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK)
            while data and b"\n" not in data and (more := file.read(_CHUNK)):
                data += more
        events = []
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            offset += len(line)
            events.append(Event.parsed(line, offset))
        return events

    def count(self, offset: int) -> int:
        """Return the number of events after an offset."""
        if not self.path.is_file():
            return 0
        number = 0
        with self.path.open("rb") as file:
            file.seek(offset)
            while data := file.read(_CHUNK):
                number += data.count(b"\n")
        return number

    def last(self) -> Event | None:
        """Return the last event if it is short; None if the last line is incomplete."""
        if not self.path.is_file():
            return None
        with self.path.open("rb") as file:
            file.seek(max(0, self.end - 65_536))
            lines = file.read().split(b"\n")
        return Event.parsed(lines[-2], self.end) if len(lines) > 1 and not lines[-1] else None
