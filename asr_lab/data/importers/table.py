"""Import a table with one row per utterance: CSV with a header, or JSON lines.

Required columns: `audio` (path, relative to the table), `text`, `speaker`; optional: `id`, `gender`, `language`. Other
columns (`age`, `snr_db`, `l1`, `block`, ...) become custom fields, unless empty or NaN.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import AsrLabError, listing, nearest

NEEDED = ("audio", "text", "speaker")
_KNOWN = {"id", "gender", "language", "corpus", *NEEDED}
_NUMBERS = {"age": float, "snr_db": float, "block": int}


class _Row(NamedTuple):
    """A row of a table, and its last line."""

    line: int
    values: dict[str, Any]


def import_csv(source: Path, out: Path, *, progress: Progress = no_progress) -> ImportResult:
    """Import a CSV table with a header; raises one `AsrLabError` that names every faulty row."""
    return _import_table(source, _read_csv, progress)


def import_jsonl(source: Path, out: Path, *, progress: Progress = no_progress) -> ImportResult:
    """Import JSON lines; raises one `AsrLabError` that names every faulty row."""
    return _import_table(source, _read_jsonl, progress)


def _import_table(table: Path, read: Callable[[Path], list[_Row]], progress: Progress) -> ImportResult:
    if not table.is_file():
        raise AsrLabError("no such table", where=str(table), allowed="a file")
    rows = read(table)
    if not rows:
        raise AsrLabError("the table has no rows", where=str(table))
    _check_columns(rows[0].values, table)
    report = ImportReport()
    lines: dict[str, int] = {}
    cuts: list[Cut] = []
    for done, row in enumerate(rows, start=1):
        item = str(row.values.get("id") or row.values.get("audio") or f"row {done}")
        try:
            cut = _utterance(row.values, table)
            if lines.setdefault(cut.id, row.line) != row.line:
                raise AsrLabError(f"duplicate id: that of line {lines[cut.id]}")
            cuts.append(cut)
        except AsrLabError as error:
            report.add_error(item, error, file=table, line=row.line)
        progress(done, len(rows))
    if report.faults:
        report.refuse(table)
    return ImportResult(splits={"all": cuts}, report=report)


def _text_of(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AsrLabError(f"the table is not UTF-8: {error}", where=str(table), hint="save it as UTF-8") from error


def _read_csv(table: Path) -> list[_Row]:
    reader = csv.DictReader(_text_of(table).splitlines())
    return [_Row(reader.line_num, dict(row)) for row in reader]


def _read_jsonl(table: Path) -> list[_Row]:
    rows = []
    for number, line in enumerate(_text_of(table).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise AsrLabError(f"line {number} is not JSON: {error}", where=str(table)) from error
        if not isinstance(row, dict):
            raise AsrLabError(f"line {number} is not a JSON object", where=str(table))
        rows.append(_Row(number, row))
    return rows


def _check_columns(first: dict[str, Any], table: Path) -> None:
    columns = [name for name in first if name is not None]
    lacking = [name for name in NEEDED if name not in columns]
    if lacking:
        near = [f"{near} for {name}?" for name in lacking if (near := nearest(name, columns))]
        raise AsrLabError(
            f"the table lacks {listing(lacking)}",
            where=str(table),
            allowed=f"columns {', '.join(NEEDED)}; it has {listing(columns)}",
            hint="did you mean " + ", ".join(near) if near else "",
        )


def _utterance(row: dict[Any, Any], table: Path) -> Cut:
    if None in row:
        raise AsrLabError("more fields than columns", hint='a text with a comma needs quotes: "well, yes"')
    if not row.get("audio"):
        raise AsrLabError("the audio file is not named")
    audio = table.parent / str(row["audio"])
    text = str(row.get("text") or "").strip()
    if not text:
        raise AsrLabError("the transcript is missing", where=str(row["audio"]))
    more = {key: _typed(key, value) for key, value in row.items() if key not in _KNOWN and value not in (None, "")}
    custom = {key: value for key, value in more.items() if not isinstance(value, float) or math.isfinite(value)}
    return manifest.utterance(
        id=str(row.get("id") or Path(str(row["audio"])).with_suffix("").as_posix().replace("/", "-")),
        audio=audio,
        text=text,
        speaker=str(row.get("speaker") or ""),
        gender=str(row.get("gender") or ""),
        language=str(row.get("language") or ""),
        corpus=str(row.get("corpus") or table.stem),
        **custom,
    )


def _typed(key: str, value: Any) -> Any:
    if key not in _NUMBERS or not isinstance(value, str):
        return value
    try:
        return _NUMBERS[key](value)
    except ValueError as error:
        raise AsrLabError(f"{key} is not a number: {value!r}") from error
