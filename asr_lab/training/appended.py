"""Files that processes append lines to, and in which one that dies may leave half a line."""

from __future__ import annotations

import os

_BLOCK = 65_536


def drop_cut_off(file: int) -> None:
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
