"""Corpora listed in a table: CSV with a header, or JSON lines; one row an utterance.

Columns `audio` (path, relative to the table), `text` and `speaker` are needed; `id`, `gender`, `language` are known;
any further column (`age`, `snr_db`, `l1`, `block`, ...) is kept as a custom field; an empty one, or a number that is
none (NaN), is not given.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError, listing, nearest

NEEDED = ("audio", "text", "speaker")
_KNOWN = {"id", "gender", "language", "corpus", *NEEDED}
_NUMBERS = {"age": float, "snr_db": float, "block": int}
_MOST_PROBLEMS = 20

Progress = Callable[[int, int], None]


def import_table(table: Path, kind: Literal["csv", "jsonl"], *, progress: Progress | None = None) -> list[Cut]:
    """Utterances of a CSV or JSON lines table; raises one `AsrLabError` that names every row that is wrong."""
    if not table.is_file():
        raise AsrLabError("no such table", where=str(table), allowed=f"a {kind} file")
    rows = _read_csv(table) if kind == "csv" else _read_jsonl(table)
    if not rows:
        raise AsrLabError("the table has no rows", where=str(table))
    _check_columns(rows, table)
    cuts: list[Cut] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=1):
        try:
            cuts.append(_utterance(row, table))
        except AsrLabError as error:
            problems.append(f"row {number}: {error.what}" + (f" ({error.where})" if error.where else ""))
        if progress:
            progress(number, len(rows))
    duplicates = [id for id, n in Counter(cut.id for cut in cuts).items() if n > 1]
    if duplicates:
        problems.append(f"{len(duplicates)} duplicate ids: {listing(sorted(duplicates))}")
    if problems:
        lines = "\n    ".join(problems[:_MOST_PROBLEMS])
        more = f"\n    and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise AsrLabError(f"{len(problems)} problems, nothing was imported:\n    {lines}{more}", where=str(table))
    return cuts


def _text_of(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AsrLabError(f"the table is not UTF-8: {error}", where=str(table), hint="save it as UTF-8") from error


def _read_csv(table: Path) -> list[dict[str, Any]]:
    rows = [dict(row) for row in csv.DictReader(_text_of(table).splitlines())]
    long = [str(number) for number, row in enumerate(rows, start=1) if None in row]
    if long:
        raise AsrLabError(
            f"rows {listing(long)} have more fields than columns",
            where=str(table),
            hint='a text with a comma stands in quotes: "well, yes"',
        )
    return rows


def _read_jsonl(table: Path) -> list[dict[str, Any]]:
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
        rows.append(row)
    return rows


def _check_columns(rows: list[dict[str, Any]], table: Path) -> None:
    columns = list(rows[0])
    lacking = [name for name in NEEDED if name not in columns]
    if lacking:
        near = [f"{near} for {name}?" for name in lacking if (near := nearest(name, columns))]
        raise AsrLabError(
            f"the table lacks {listing(lacking)}",
            where=str(table),
            allowed=f"columns {', '.join(NEEDED)}; it has {listing(columns)}",
            hint="did you mean " + ", ".join(near) if near else "",
        )


def _utterance(row: dict[str, Any], table: Path) -> Cut:
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
