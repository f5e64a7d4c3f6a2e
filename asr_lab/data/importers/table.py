"""Import a table with one row per utterance: CSV with a header, or JSON lines.

Required columns: `audio` (path, relative to the table), `text`, `speaker`; optional: `id`, `gender`, `language`, and
those that name a piece of the file (`offset`, `duration`, `start_ms`, `end`, `channel`, ...). Other columns (`age`,
`snr_db`, `l1`, `block`, ...) become custom fields, unless empty or NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from asr_lab.data import manifest
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.hints import audio_folder, candidates, check_speakers, quoted
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import AS_NAMED, WAYS, Speakers
from asr_lab.data.importers.table_rows import NEEDED, import_rows
from asr_lab.data.text_files import Row, json_rows, read_table, read_text
from asr_lab.errors import AsrLabError, listing, nearest

_NAMED = ("audio", "text", "speaker", "id", "gender", "language", "age", "snr_db", "start", "end", "duration")
_OF_OTHERS = {"nemo": {"audio_filepath"}, "cuts": {"supervisions", "tracks"}, "huggingface": {"file_name"}}
"""Kind of corpus -> columns that only it has."""


def import_csv(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    audio: Path | None = None,
    sheet: str | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a CSV table with a header, or one in a workbook; raises one `AsrLabError` that names every faulty row.

    `keys` names the columns of fields; audio paths are relative to the folder `audio`, by default that of the table.
    Speakers are those of the column, or those given.
    """
    _check_there(source)
    report = ImportReport()
    rows = read_table(source, report.notes, sheet or "")
    return _import_table(source, rows, report, keys or {}, audio, speakers, skip_faulty, progress)


def import_jsonl(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    audio: Path | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import JSON lines as `import_csv` does; raises one `AsrLabError` that names every faulty row."""
    _check_there(source)
    report = ImportReport()
    rows = read_jsonl(source, report)
    return _import_table(source, rows, report, keys or {}, audio, speakers, skip_faulty, progress)


def _check_there(table: Path) -> None:
    if not table.is_file():
        raise AsrLabError("no such table", where=str(table), allowed="a file")


def read_jsonl(table: Path, report: ImportReport) -> list[Row]:
    """Read JSON lines, or a JSON array; those that are no objects become faults."""
    rows = []
    for number, row in json_rows(read_text(table, report.notes)):
        if isinstance(row, dict):
            rows.append(Row(number, {normalize("NFC", key): value for key, value in row.items()}))
            continue
        report.read += 1
        if isinstance(row, ValueError):
            report.add(f"line {number}", "not JSON", _reason(row), file=table, line=number)
        else:
            report.add(f"line {number}", "not a JSON object", str(row)[:60], file=table, line=number)
    return rows


def _reason(error: ValueError) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _import_table(
    table: Path,
    rows: Sequence[Row],
    report: ImportReport,
    keys: Mapping[str, str],
    audio: Path | None,
    speakers: Speakers,
    skip_faulty: bool,
    progress: Progress,
) -> ImportResult:
    if not rows:
        report.settle(table, skip_faulty=skip_faulty, is_left=False)
        raise AsrLabError("the table has no rows", where=str(table))
    rows = renamed(rows, keys, table)
    _check_columns([row.values for row in rows], table, keys, needs_speaker=not speakers.are_given)
    cuts = import_rows(rows, table, audio or table.parent, report, progress, speakers=speakers, searches=True)
    hints = [] if cuts or audio else [_audio_hint(rows, table)]
    report.settle(table, skip_faulty=skip_faulty, is_left=bool(cuts), hints=hints)
    if "speaker" in keys and not speakers.are_given:
        names = [str(manifest.supervision(cut).speaker) for cut in cuts]
        check_speakers(
            f"the values of --columns speaker={keys['speaker']}", names, [manifest.text(cut) for cut in cuts]
        )
    return ImportResult(splits={"all": cuts}, report=report)


def renamed(rows: Sequence[Row], keys: Mapping[str, str], table: Path) -> list[Row]:
    """Return the rows with the columns named by `keys` under the names of their fields."""
    keys = {field: normalize("NFC", key) for field, key in keys.items()}
    columns = dict.fromkeys(str(name) for row in rows for name in row.values if name is not None)
    if unknown := [field for field in keys if field not in _NAMED]:
        raise AsrLabError(f"--columns has no field {listing(unknown)}", allowed=listing(_NAMED))
    if lacking := [key for key in keys.values() if key not in columns]:
        near = [close for key in lacking if (close := nearest(key, columns))]
        raise AsrLabError(
            f"the table has no column {listing(lacking)}",
            where=str(table),
            allowed=f"its columns {listing(columns, 30)}",
            hint=f"did you mean {listing(near)}?" if near else "",
        )
    moved = set(keys.values())
    return [
        Row(
            row.line,
            {name: value for name, value in row.values.items() if name not in moved}
            | {field: row.values.get(key) for field, key in keys.items()},
        )
        for row in rows
    ]


def _audio_hint(rows: Sequence[Row], table: Path) -> str:
    """Return a hint on the folder that the audio paths start from, if it is below that of the table."""
    name = next((str(row.values["audio"]) for row in rows if row.values.get("audio")), "")
    folder = audio_folder(table.parent, name) if name else None
    return f"--audio {quoted(str(folder))}" if folder and folder != table.parent else ""


def _check_columns(
    rows: Sequence[Mapping[str, Any]], table: Path, named: Mapping[str, str], *, needs_speaker: bool
) -> None:
    columns = list(dict.fromkeys(str(name) for row in rows for name in row if name is not None))
    lacking = [name for name in NEEDED if name not in columns and (needs_speaker or name != "speaker")]
    if not lacking:
        return
    if other := next((kind for kind, marks in _OF_OTHERS.items() if marks & set(columns)), ""):
        raise AsrLabError(
            f"the table lacks {listing(lacking)}",
            where=str(table),
            hint=f"its columns are those of {other}",
            next_command=f"asr-lab data import {other} {quoted(str(table))} OUT",
        )
    alike = candidates(rows, lacking, taken=NEEDED)
    near = {field: names[0] for field, names in alike.items() if len(names) == 1}
    keys = ",".join(f"{field}={column}" for field, column in {**named, **near}.items())
    kind = "jsonl" if table.suffix == ".jsonl" else "csv"
    more = _audio_hint([Row(0, {"audio": row.get(near.get("audio", "audio"))}) for row in rows], table)
    one = "--speaker NAME" if "speaker" in lacking and "speaker" not in alike else ""
    keys = ",".join([keys, *(f"{field}={names[0]}" for field, names in alike.items() if len(names) > 1)]).strip(",")
    options = [f"--columns {quoted(keys)}" if keys else "", more, one]
    again = " ".join([f"asr-lab data import {kind} {quoted(str(table))} OUT", *filter(None, options)])
    hints = ["did you mean " + ", ".join(f"{column} for {field}?" for field, column in near.items())] if near else []
    hints += [f"{listing(names)} may each be the {field}" for field, names in alike.items() if len(names) > 1]
    if "speaker" in lacking and "speaker" not in alike:
        hints.append(f"no column looks like that of a speaker: {WAYS}")
    raise AsrLabError(
        f"the table lacks {listing(lacking)}",
        where=str(table),
        allowed=f"columns {', '.join(NEEDED)}, or --columns FIELD=COLUMN,...; it has {listing(columns, 30)}",
        hint="; ".join(hints),
        next_command=again if set(lacking) <= {*alike, "speaker"} else "",
    )
