"""Files that processes append lines to, and in which one that dies may leave half a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_BLOCK = 65_536


def drop_partial_line(file: int) -> None:
    """Take away a last line that was not written to its end; `file` is a descriptor open for reading and writing."""
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
    """Write lines to a descriptor that appends; when the disk has no room (`OSError`), none of them is there half."""
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError:
        drop_partial_line(file)
        raise


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append lines to a file that is opened for them alone; a last one that was cut off goes. Raises `OSError`."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        drop_partial_line(file)
        write_complete(file, "".join(f"{line}\n" for line in lines).encode())
    finally:
        os.close(file)
