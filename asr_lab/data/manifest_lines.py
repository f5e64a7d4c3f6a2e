"""The lines of a manifest: read in batches as Arrow text, and copied to a file in which each line can be found.

A `.jsonl.gz` can only be read from its beginning. Its copy holds the same lines in blocks compressed by zstd, each of
which is read by itself: a line is `(block, at, length)`, where a block begins in the copy, and where in it the line is.
"""

from __future__ import annotations

import errno
import os
import shlex
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asr_lab.errors import AsrLabError, is_out_of_memory
from asr_lab.system.files import remedy

Places = npt.NDArray[np.int64]

_GZIP = 31  # zlib's number for the format
_READ_BYTES = 1_000_000
_BATCH_BYTES = 16_000_000
_BLOCK_BYTES = 16_384  # a line of a random place costs the decompression of its block
_HEADER = struct.Struct("<II")  # bytes of a block: compressed, and not
_BINARY = getattr(os, "O_BINARY", 0)
_seeking = threading.Lock()
_AT_ONCE = 100_000  # lines that are held when they are read in another order


@dataclass(frozen=True)
class Lines:
    """Whole lines of a manifest."""

    first: int
    """Number of the lines before them."""
    data: bytes
    starts: Places
    """Where each line begins in `data`; beyond the last, the length of `data`."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def text(self) -> pa.Array:
        """Return the lines as Arrow text, without copying them; raises `pa.ArrowInvalid` if they are not UTF-8."""
        buffers = [None, pa.py_buffer(self.starts.astype(np.int32)), pa.py_buffer(self.data)]
        text = pa.Array.from_buffers(pa.string(), len(self), buffers)
        text.validate(full=True)
        return text

    def __getitem__(self, index: int) -> bytes:
        return self.data[self.starts[index] : self.starts[index + 1]]


def read_lines(path: Path) -> Iterator[Lines]:
    """Yield the lines of a manifest in batches.

    Raises `OSError`, `EOFError` or `zlib.error` if it is cut off or not compressed.
    """
    parts, size, first = list[bytes](), 0, 0
    for part in _decompressed(path):
        end = part.rfind(b"\n") + 1 if size + len(part) >= _BATCH_BYTES else 0
        if end:
            data = b"".join([*parts, part[:end]])
            lines = Lines(first, data, _starts(data))
            yield lines
            first += len(lines)
            parts, size, part = [], 0, part[end:]
        parts.append(part)
        size += len(part)
    if rest := b"".join(parts):
        yield Lines(first, rest, _starts(rest))


def _decompressed(path: Path) -> Iterator[bytes]:
    """Yield the contents of a gzip file of any number of members, with less work than `gzip` before Python 3.12."""
    member = zlib.decompressobj(_GZIP)
    with path.open("rb") as file:
        while compressed := file.read(_READ_BYTES):
            while compressed:
                if member.eof:
                    member = zlib.decompressobj(_GZIP)
                yield member.decompress(compressed)
                compressed = member.unused_data.lstrip(b"\0")  # padding
    if not member.eof and path.stat().st_size:
        raise EOFError("it ends before its end-of-stream marker")


def _starts(data: bytes) -> Places:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    last = [] if len(ends) and ends[-1] == len(data) else [len(data)]  # a last line without its end
    return np.concatenate([[0], ends, last]).astype(np.int64)


class LineWriter:
    """Writes lines in blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._codec, self._end = file, pa.Codec("zstd", 1), 0

    def write(self, lines: Lines) -> tuple[Places, Places, Places]:
        """Write lines; return block, at and length of each (N,)."""
        starts, lengths = lines.starts[:-1], np.diff(lines.starts)
        number = starts // _BLOCK_BYTES  # of the block of each line
        firsts = np.flatnonzero(np.diff(number, prepend=-1))
        blocks = np.empty(len(lines), np.int64)
        at = np.empty(len(lines), np.int64)
        for first, end in zip(firsts, [*firsts[1:], len(lines)], strict=True):
            blocks[first:end], at[first:end] = self._end, starts[first:end] - starts[first]
            raw = lines.data[lines.starts[first] : lines.starts[end]]
            compressed = self._codec.compress(raw, asbytes=True)
            self._file.write(_HEADER.pack(len(compressed), len(raw)) + compressed)
            self._end += _HEADER.size + len(compressed)
        return blocks, at, lengths


class LineReader:
    """Reads lines of a copy by their places; each process opens it for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process, self._file = 0, -1
        self._last = -1, b""  # the block that was read last; one object, which threads replace as a whole

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def read(self, block: int, at: int, length: int) -> bytes:
        """Return one line; raises `AsrLabError` if the copy is gone or cut off."""
        last, data = self._last
        if block != last:
            data = self._read_block(block)
            self._last = block, data
        return data[at : at + length]

    def read_all(self, blocks: Places, at: Places, lengths: Places) -> Iterator[bytes]:
        """Yield lines in any order; each block is read once in 100,000 lines."""
        for first in range(0, len(blocks), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            order = np.lexsort((at[part], blocks[part]))
            places = zip(blocks[part].tolist(), at[part].tolist(), lengths[part].tolist(), strict=True)
            if (np.diff(order) > 0).all():  # in the order of the manifest
                yield from (self.read(*place) for place in places)
                continue
            listed: Sequence[tuple[int, int, int]] = list(places)
            found: list[bytes] = [b""] * len(listed)
            for index in order.tolist():
                found[index] = self.read(*listed[index])
            yield from found

    def read_runs(self, blocks: Places, at: Places, lengths: Places) -> Iterator[bytes]:
        """Yield the same lines in the same order, each with its end; those read of a block in a row are one piece."""
        ends = np.flatnonzero((np.diff(blocks) != 0) | (at[1:] != at[:-1] + lengths[:-1])) + 1
        firsts, lasts = np.append(0, ends)[: len(blocks)], np.append(ends, len(blocks))[: len(blocks)] - 1
        blocks, at, ends = blocks[firsts], at[firsts], at[lasts] + lengths[lasts]
        if (np.diff(blocks) < 0).any():
            yield from map(_ended, self.read_all(blocks, at, ends - at))
            return
        for first in range(0, len(blocks), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            places = zip(blocks[part].tolist(), at[part].tolist(), ends[part].tolist(), strict=True)
            for block, runs in groupby(places, itemgetter(0)):
                data = self._read_block(block)
                yield b"".join([_ended(data[start:end]) for _, start, end in runs])

    def _read_block(self, block: int) -> bytes:
        try:
            if self._process != os.getpid():
                file = os.open(self.path, os.O_RDONLY | _BINARY)  # by several threads at once, maybe
                weakref.finalize(self, os.close, file).atexit = False
                self._file, self._process = file, os.getpid()
            compressed, raw = _HEADER.unpack(_read_at(self._file, _HEADER.size, block))
            data = _read_at(self._file, compressed, block + _HEADER.size)
            return pa.Codec("zstd").decompress(data, raw, asbytes=True)  # type: ignore[no-any-return]
        except (OSError, struct.error, pa.ArrowException) as error:
            raise table_error(self.path, error) from error


def table_error(path: Path, error: Exception) -> AsrLabError:
    """Return the error of a file of a table that cannot be read; a damaged one is removed, which has it made anew."""
    cause = _cause(path, error)
    if cause and cause.errno in (errno.ENOENT, errno.ESTALE):
        return AsrLabError(
            f"the table of a manifest is gone: {error}",
            where=str(path),
            hint="the manifest was changed or .tables removed in the meantime; the same command makes it anew, and "
            "resumes if the manifest is the same",
        )
    if cause or isinstance(error, duckdb.IOException) or is_out_of_memory(error):
        advice = remedy(cause) if cause else ""
        return AsrLabError(f"the table of a manifest cannot be read: {error}", where=str(path), hint=advice)
    what = f"the table of a manifest is damaged: {error}"
    try:
        path.unlink(missing_ok=True)
    except OSError as kept:
        return AsrLabError(
            f"{what}; it cannot be removed: {kept.strerror}",
            where=str(path),
            hint="whoever may write in its folder can; or use a copy of the manifest in a folder of your own: "
            "asr-lab data import cuts MANIFEST OUT",
            next_command=f"rm {shlex.quote(str(path))}",
        )
    return AsrLabError(what, where=str(path), hint="it is removed; the same command makes it anew, and resumes")


def _cause(path: Path, error: Exception) -> OSError | None:
    """Return what the operating system refused; None if it refused nothing, as Arrow's errors of damaged data."""
    if isinstance(error, OSError) and error.errno:
        return error
    try:
        path.stat()
    except OSError as missing:
        return missing
    # errors of DuckDB have no number, but end with the system's message, maybe on another file: what it spills
    message = str(error).rstrip()
    numbers = (number for number in errno.errorcode if message.endswith(f": {os.strerror(number)}"))
    return next((OSError(number, message) for number in numbers if number != errno.ENOENT), None)


def _ended(lines: bytes) -> bytes:
    """Return lines with a line feed at their end, which the last one of a manifest may lack."""
    return lines if lines.endswith(b"\n") else lines + b"\n"


def _read_at(file: int, size: int, start: int) -> bytes:
    """Read bytes at a place of an open file, by any number of threads."""
    if hasattr(os, "pread"):
        return os.pread(file, size, start)
    with _seeking:  # Windows
        os.lseek(file, start, os.SEEK_SET)
        return os.read(file, size)
