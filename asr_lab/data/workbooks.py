"""Read the table of a workbook (Excel, OpenDocument) by python-calamine, the extra `excel`."""

from __future__ import annotations

import datetime
import shlex
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asr_lab.errors import AsrLabError, listing

SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls, and workbooks with a password
_ZIP = b"PK\x03\x04"
_PARTS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_WAYS = "pip install 'asr_lab[excel]'"
SAVE_AS_CSV = "or in Excel: File > Save As > CSV UTF-8 (Comma delimited)"

Cells = list[tuple[int, list[str]]]
"""(row of the sheet, from 1; its cells) of each row that is not empty."""


def is_workbook(path: Path) -> bool:
    """Return whether a file is a workbook by its first bytes; a text that is named .xls is none."""
    with path.open("rb") as file:
        head = file.read(len(_OLE))
    if head.startswith(_ZIP) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return not {*_PARTS}.isdisjoint(archive.namelist())
    return head == _OLE


def read_workbook(path: Path, sheet: str = "", notes: list[str] | None = None) -> Cells:
    """Return the cells of the only sheet that holds a table, or of the one named, as text, the header first.

    Rows above the header that have one cell are titles, and left out; a merged cell counts in all its rows. `notes`
    gets a note on both, and on dates, which Excel makes of texts such as `3/2`. Raises `AsrLabError` if python-calamine
    is not there, the file cannot be read, or several sheets hold tables.
    """
    if not find_spec("python_calamine"):
        raise AsrLabError(
            f"{path.suffix or 'a workbook'} needs python-calamine, and it is not installed",
            where=str(path),
            allowed=_WAYS,
            hint=SAVE_AS_CSV,
        )
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            tables = {name: _table(book.get_sheet_by_name(name)) for name in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        raise AsrLabError(
            f"the workbook cannot be read: {error}",
            where=str(path),
            hint=f"it has a password, or is cut off; {SAVE_AS_CSV}",
        ) from error
    name = _chosen(tables, sheet, path)
    rows, dates = tables.get(name, ([], 0))
    header = next((place for place, (_, cells) in enumerate(rows) if sum(map(bool, cells)) > 1), 0)
    if notes is not None and rows:
        notes.append(f"{path.name} is a workbook: the sheet {name}, with the header in row {rows[header][0]}")
        if dates:
            notes.append(f"warning: {dates} cells are dates, perhaps made of texts: read as year-month-day")
    width = max((place + 1 for place, cell in enumerate(rows[header][1]) if cell), default=0) if rows else 0
    return [(row, _trimmed(cells, width)) for row, cells in rows[header:]]


def _chosen(tables: dict[str, tuple[Cells, int]], sheet: str, path: Path) -> str:
    if sheet and sheet not in tables:
        raise AsrLabError(f"no sheet {sheet}", where=str(path), allowed=listing(tables, 20))
    several = [name for name, (rows, _) in tables.items() if sum(sum(map(bool, cells)) > 1 for _, cells in rows) > 1]
    if len(several) > 1 and not sheet:
        raise AsrLabError(
            f"{len(several)} sheets hold tables: {listing(several, 20)}",
            where=str(path),
            allowed="--sheet NAME",
            next_command=f"asr-lab data import csv {shlex.quote(str(path))} OUT --sheet {shlex.quote(several[0])}",
        )
    return sheet or next(iter(several), "")


def _table(sheet: Any) -> tuple[Cells, int]:
    """Return the rows of a sheet that are not empty, and the number of dates in them."""
    rows = sheet.to_python(skip_empty_area=False)
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        if left == right:
            for row in rows[top + 1 : bottom + 1]:
                row[left] = rows[top][left]
    dates = sum(isinstance(value, datetime.date) for row in rows for value in row)
    texts = [(number, [_text(value) for value in row]) for number, row in enumerate(rows, start=1)]
    return [(number, cells) for number, cells in texts if any(cells)], dates


def _text(value: Any) -> str:
    """Return a cell as it is typed: 41 for the number 41.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    return "" if value is None else str(value).strip()


def _trimmed(cells: list[str], width: int) -> list[str]:
    """Return the cells without empty ones beyond the columns of the header."""
    while len(cells) > width and not cells[-1]:
        cells = cells[:-1]
    return cells
