"""Read text files: lines, and tables of delimited values or of workbooks.

A line ends with LF or CR LF only, or in a text without any LF with CR, as Excel for Mac can write it.
`str.splitlines` also splits at form feeds, U+0085, U+2028 and U+2029, which occur in transcripts.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from asr_lab.data.containers import HEAD_BYTES, LFS_HINT, LFS_POINTER, kind_of
from asr_lab.data.workbooks import SAVE_AS_CSV, is_workbook, read_workbook
from asr_lab.errors import AsrLabError, listing

_DELIMITERS = ",\t;|"
ENCODING_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""First bytes of a file -> its encoding."""
_BETWEEN = re.compile(r"[\s,]*")  # the elements of a JSON array
_MARKUP = re.compile(r"\s*<(?:(\?xml)|!doctype html|html|head|meta|style|table)\b", re.IGNORECASE)
_SEPARATOR = re.compile(r"\"?sep=(.)\"?\r?\n", re.IGNORECASE)  # a first line that Excel writes


class Row(NamedTuple):
    """A row of a table, and its first line in the file, from 1."""

    line: int
    values: dict[str, Any]


def read_text(path: Path, notes: list[str] | None = None) -> str:
    """Read a text file without changing its line ends: UTF-8, UTF-16 with its mark, or CP949 as of Korean Excel.

    `notes` gets a note on an encoding that is not UTF-8. Raises `AsrLabError` for other encodings, and for what is no
    text: a Git LFS pointer, an archive.
    """
    content = path.read_bytes()
    if kind_of(content[:HEAD_BYTES]) == LFS_POINTER:
        raise AsrLabError(f"not the file, but {LFS_POINTER}", where=str(path), hint=LFS_HINT)
    text, encoding = _decoded(content, path)
    if notes is not None and encoding:
        notes.append(f"{path.name} is read as {encoding}")
    return text


def _decoded(content: bytes, path: Path) -> tuple[str, str]:
    """Return (text, its encoding if that is not UTF-8)."""
    for mark, encoding in ENCODING_MARKS.items():
        if content.startswith(mark):
            try:
                text = content.decode(encoding).removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                raise AsrLabError(
                    f"the file begins as {encoding.upper()}, and is not: byte {error.start}: {error.reason}",
                    where=str(path),
                    hint="it is cut off or damaged; save it as UTF-8",
                ) from error
            return text, "" if encoding == "utf-8-sig" else encoding[:6].upper()
    if b"\0" in content:
        kind = kind_of(content[:HEAD_BYTES])
        raise AsrLabError(
            f"not a text file: it is {kind}" if kind else "not a text file: it has NUL bytes",
            where=str(path),
            allowed="UTF-8, UTF-16 with a byte order mark, or CP949",
            hint="if it is UTF-16 without its mark, save it as UTF-8",
        )
    try:
        return content.decode(), ""
    except UnicodeDecodeError as error:
        fault = error
    try:
        text = content.decode("cp949")
    except UnicodeDecodeError:
        text = ""
    foreign = [character for character in text if ord(character) > 127]
    if not foreign or 2 * sum("가" <= character <= "힣" for character in foreign) < len(foreign):
        line = content[: fault.start].count(b"\n") + 1
        raise AsrLabError(
            f"the file is neither UTF-8 nor Korean in CP949: line {line}: {fault.reason}",
            where=str(path),
            allowed="UTF-8, UTF-16 with a byte order mark, or CP949",
            hint="save it as UTF-8",
        )
    return text, "CP949"


def lines(text: str) -> list[str]:
    """Split a text at LF and CR LF only, without any LF at CR; a line end at the end of the text begins no line."""
    rows = [row.removesuffix("\r") for row in text.split("\n")] if "\n" in text else text.split("\r")
    return rows if rows[-1] else rows[:-1]


def json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of JSON lines, or of the elements of a JSON array; a `ValueError` for what is no JSON.

    After an error in an array nothing follows.
    """
    start = len(text) - len(text.lstrip())
    if not text.startswith("[", start):
        for number, row in enumerate(lines(text), start=1):
            if row.strip():
                yield number, _parsed(row)
        return
    decoder, place, line = json.JSONDecoder(), start + 1, 1 + text.count("\n", 0, start + 1)
    while (match := _BETWEEN.match(text, place)) and not text.startswith("]", match.end()):
        line += text.count("\n", place, match.end())
        try:
            value, place = decoder.raw_decode(text, match.end())
        except ValueError as error:
            yield line, error
            return
        yield line, value
        line += text.count("\n", match.end(), place)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        return error


def read_table(path: Path, notes: list[str] | None = None, sheet: str = "") -> list[Row]:
    """Read delimited values with a header; commas, tabs, semicolons or bars, whichever the header has most of.

    Of a workbook it is the only sheet that holds a table, or `sheet`.

    A cell may be quoted, and then hold delimiters and line ends. Tables with tabs often quote nothing, and then quotes
    are text. Columns are in NFC; rows without any value are none. `notes` gets a note on an encoding that is not UTF-8.
    Raises `AsrLabError` for quotes that are not closed, and for columns of the same name.
    """
    numbered = read_workbook(path, sheet, notes) if is_workbook(path) else _delimited(path, notes)
    if not numbered:
        return []
    _, columns = numbered[0]
    columns = [normalize("NFC", name.strip()) for name in columns]
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise AsrLabError(f"several columns are named {listing(twice)}", where=str(path))
    return [Row(line, _named(columns, cells)) for line, cells in numbered[1:]]


def _delimited(path: Path, notes: list[str] | None) -> list[tuple[int, list[str]]]:
    """Return (first line, cells) of each row of delimited values, the header first."""
    text, before = read_text(path, notes), 0
    if markup := _MARKUP.match(text):
        raise AsrLabError(
            f"not a table of values: it is {'XML' if markup[1] else 'HTML'}, as some programs write as {path.suffix}",
            where=str(path),
            allowed="delimited values, or a workbook of Excel",
            hint=f"open it as a spreadsheet and save it as .xlsx; {SAVE_AS_CSV}",
        )
    if named := _SEPARATOR.match(text):
        text, before = text[named.end() :], 1
    header = next(iter(lines(text)), "")
    delimiter = named[1] if named else max(_DELIMITERS, key=header.count)
    try:
        numbered = _cells(text, before, delimiter=delimiter, strict=True)
    except csv.Error as error:
        if delimiter != "\t":
            line, reason = error.args
            raise AsrLabError(
                f"the quotes of line {line} are not those of a table: {reason}",
                where=str(path),
                allowed='a cell with quotes in quotes, and those within doubled: "she said ""yes"""',
            ) from error
        numbered = _cells(text, before, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        if delimiter == "\t" and any("\n" in cell or "\t" in cell for _, cells in numbered for cell in cells):
            numbered = _unless_quoted(text, before) or numbered
    return numbered


def _unless_quoted(text: str, before: int) -> list[tuple[int, list[str]]]:
    """Return the rows of a table with tabs as if quotes were text; [] if they differ in their number of cells."""
    numbered = _cells(text, before, delimiter="\t", quoting=csv.QUOTE_NONE)
    return numbered if len({len(cells) for _, cells in numbered}) == 1 else []


def _cells(text: str, before: int, **dialect: Any) -> list[tuple[int, list[str]]]:
    """Return (first line, cells) of each row that is not empty; an error has its line and reason.

    `before` lines of the file are not in the text.
    """
    reader, first, rows = csv.reader(io.StringIO(text, newline=""), **dialect), before + 1, []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((first, cells))
            first = before + reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(first, str(error)) from error
    return rows


def _named(columns: list[str], cells: Iterable[str]) -> dict[Any, Any]:
    """Return column -> cell; cells beyond the columns are those of None."""
    values = list(cells)
    row: dict[Any, Any] = dict(zip(columns, values, strict=False))
    return row | ({None: values[len(columns) :]} if values[len(columns) :] else {})
