"""Read text files: lines, and tables of delimited values.

A line ends with LF or CR LF only. `str.splitlines` also splits at form feeds, U+0085, U+2028 and U+2029, which occur in
transcripts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from asr_lab.errors import AsrLabError, listing

_DELIMITERS = ",\t;|"


class Row(NamedTuple):
    """A row of a table, and its first line in the file, from 1."""

    line: int
    values: dict[str, Any]


def read_text(path: Path) -> str:
    """Read a file in UTF-8, with or without a byte order mark, without changing its line ends."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise AsrLabError(
            f"the file is not UTF-8: line {line}: {error.reason}", where=str(path), hint="save it as UTF-8"
        ) from error


def lines(text: str) -> list[str]:
    """Split a text at LF and CR LF only; a line end at the end of the text begins no line."""
    rows = [row.removesuffix("\r") for row in text.split("\n")]
    return rows if rows[-1] else rows[:-1]


def read_table(path: Path) -> list[Row]:
    """Read delimited values with a header; commas, tabs, semicolons or bars, whichever the header has most of.

    A cell may be quoted, and then hold delimiters and line ends. Tables with tabs often quote nothing, and then quotes
    are text. Raises `AsrLabError` for quotes that are not closed, and for columns of the same name.
    """
    text = read_text(path)
    header = next(iter(lines(text)), "")
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        numbered = _cells(text, delimiter=delimiter, strict=True)
    except csv.Error as error:
        if delimiter != "\t":
            line, reason = error.args
            raise AsrLabError(
                f"the quotes of line {line} are not those of a table: {reason}",
                where=str(path),
                allowed='a cell with quotes in quotes, and those within doubled: "she said ""yes"""',
            ) from error
        numbered = _cells(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    if not numbered:
        return []
    _, columns = numbered[0]
    columns = [name.strip() for name in columns]
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise AsrLabError(f"several columns are named {listing(twice)}", where=str(path))
    return [Row(line, _named(columns, cells)) for line, cells in numbered[1:]]


def _cells(text: str, **dialect: Any) -> list[tuple[int, list[str]]]:
    """Return (first line, cells) of each row that is not empty; an error has its line and reason."""
    reader, first, rows = csv.reader(io.StringIO(text, newline=""), **dialect), 1, []
    try:
        for cells in reader:
            if cells:
                rows.append((first, cells))
            first = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(first, str(error)) from error
    return rows


def _named(columns: list[str], cells: Iterable[str]) -> dict[Any, Any]:
    """Return column -> cell; cells beyond the columns are those of None."""
    values = list(cells)
    row: dict[Any, Any] = dict(zip(columns, values, strict=False))
    return row | ({None: values[len(columns) :]} if values[len(columns) :] else {})
