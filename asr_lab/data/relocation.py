"""Write manifests from the lines of another one, with audio paths relative to the new folder."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from asr_lab.data.audio_places import absolute, relative, url_of
from asr_lab.data.table_utterances import Utterances
from asr_lab.system.files import atomic_file

_COMPRESSION = 3  # of gzip: 9 takes six times as long and saves 7 %
_PIECES = 1_000  # of one line, or of several: about 16 kB
_SOURCE = b'"source": '
_AUDIO = _SOURCE + b'"'
_PATH = re.compile(rb'"source": ("(?:[^"\\]|\\.)*")')
_encode = json.JSONEncoder(ensure_ascii=False).encode


def write_rows(rows: Utterances, path: Path) -> None:
    """Write utterances of a table, which was checked, atomically; raises `AsrLabError` if there are none."""
    if not rows:
        from asr_lab.data.cuts import check  # it needs lhotse

        check([], where=str(path))
    write_lines(Relocation(rows, path.parent.resolve()).lines(), path)


def write_with(rows: Utterances, fields: Callable[[int], dict[str, Any]], path: Path) -> None:
    """Write utterances of a table atomically with the custom fields that `fields` returns for their rows."""
    moved = Relocation(rows, path.parent.resolve())
    lines = zip(map(fields, rows.rows.tolist()), rows.lines(), strict=True)
    write_lines((moved.line_with(line, new) if new else moved.line(line) for new, line in lines), path)


def write_lines(lines: Iterator[bytes], path: Path) -> None:
    """Write a manifest atomically; `lines` yields one or several whole lines at a time."""
    with (
        atomic_file(path) as written,
        written.open("wb") as raw,
        gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as file,
    ):  # same contents, same bytes
        while batch := b"".join(islice(lines, _PIECES)):
            file.write(batch)


class Relocation:
    """Moves lines of a table's manifest to a manifest in the folder `root`."""

    def __init__(self, rows: Utterances, root: Path) -> None:
        self._rows, self._root = rows, root
        self._old = rows.table.manifest.parent.resolve()
        self._moved = lru_cache(10_000)(lambda folder: relative(absolute(folder, self._old), root))

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of all utterances in their order, many at once where that is possible."""
        prefix = self._prefix()
        for data in self._rows.lines(together=prefix is not None):
            moved = data.replace(_AUDIO, _AUDIO + prefix) if prefix else data
            if prefix is not None and _is_each(prefix, data, moved):
                yield moved
            else:
                yield from map(self.line, data.splitlines(keepends=True))

    def line(self, line: bytes) -> bytes:
        """Return one line."""
        is_complete = line.endswith(b"\n")
        if is_complete and self._old == self._root:
            return line
        if not is_complete or line.count(_SOURCE) != 1 or not (found := _PATH.search(line)):
            return self._written_anew(line)
        source = json.loads(found[1])
        if url_of(source):
            return line
        folder, slash, name = source.rpartition("/")
        path = os.path.normpath(f"{self._moved(folder + slash)}/{name}")
        return line[: found.start(1)] + _encode(path).encode() + line[found.end(1) :]

    def line_with(self, line: bytes, custom: dict[str, Any]) -> bytes:
        """Return one line with these custom fields."""
        return self._written_anew(line, custom)

    def _written_anew(self, line: bytes, custom: dict[str, Any] | None = None) -> bytes:
        from asr_lab.data.cuts import located  # it needs lhotse

        row = located(json.loads(line), self._old)
        if custom:
            segment = row["supervisions"][0]
            segment["custom"] = {**(segment.get("custom") or {}), **custom}
        return relative_line(row, self._root)

    def _prefix(self) -> bytes | None:
        """Return what all audio paths begin with in the new folder, before what they were; None if that differs."""
        if self._old == self._root:
            return b""
        prefix, sources = os.path.relpath(self._old, self._root), self._rows.table.columns("source")["source"]
        goes_up = set(Path(prefix).parts) == {".."}
        down = r"[^./][^/:\\\"]*(/[^./][^/\\\"]*)*$"  # and no URL
        plain = rf"^(\.\./)*{down}" if goes_up else rf"^{down}"
        if not pc.all(pc.match_substring_regex(sources, plain).fill_null(False)).as_py():
            return None
        if self._root.is_relative_to(self._old):  # paths through the new folder itself would be shorter
            into = f"{self._root.relative_to(self._old).parts[0]}/"
            if pc.any(pc.starts_with(sources, into)).as_py():
                return None
        return _encode(f"{prefix}/")[1:-1].encode()


def _is_each(prefix: bytes, lines: bytes, moved: bytes) -> bool:
    """Return whether the prefix was put into lines as many times as there are lines."""
    return not prefix or len(moved) - len(lines) == len(prefix) * lines.count(b"\n")


def relative_line(row: dict[str, Any], root: Path) -> bytes:
    """Return the line of a row with absolute audio paths."""
    for source in row["recording"]["sources"]:
        source["source"] = relative(source["source"], root)
    return _encode(row).encode() + b"\n"
