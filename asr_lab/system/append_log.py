"""Files to which several processes append lines; a process that dies may leave an incomplete last line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_BLOCK = 65_536


def drop_partial_line(file: int) -> None:
    """Remove an incomplete last line; `file` is a descriptor open for reading and writing."""
    end = keep = os.fstat(file).st_size
    while keep > 0:
        start = max(0, keep - _BLOCK)
        newline = os.pread(file, keep - start, start).rfind(b"\n")
        if newline >= 0:
            keep = start + newline + 1
            break
        keep = start
    if keep != end:
        os.ftruncate(file, keep)


def write_complete(file: int, data: bytes) -> None:
    """Append lines to a descriptor; if that fails (`OSError`, such as a full disk), remove an incomplete line."""
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError:
        drop_partial_line(file)
        raise


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Open a file, remove an incomplete last line, and append lines. Raises `OSError`."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        drop_partial_line(file)
        write_complete(file, "".join(f"{line}\n" for line in lines).encode())
    finally:
        os.close(file)
