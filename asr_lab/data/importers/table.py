"""Import a table with one row per utterance: CSV with a header, or JSON lines.

Required columns: `audio` (path, relative to the table), `text`, `speaker`; optional: `id`, `gender`, `language`, and
those that name a piece of the file (`offset`, `duration`, `start_ms`, `end`, `channel`, ...). Other columns (`age`,
`snr_db`, `l1`, `block`, ...) become custom fields, unless empty or NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from lhotse.cut import Cut
from lhotse.utils import fastcopy

from asr_lab.data import guesses, manifest
from asr_lab.data.importers.audio_paths import AudioPaths, without_suffix
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.details import age_of, gender_of, is_unknown
from asr_lab.data.importers.hints import audio_folder, check_speakers, other_names, proposed, quoted
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.pieces import PieceColumns, cut_piece
from asr_lab.data.importers.speakers import WAYS, Speakers
from asr_lab.data.text_files import Row, lines, read_table, read_text
from asr_lab.errors import AsrLabError, listing, nearest

NEEDED = ("audio", "text", "speaker")
_KNOWN = {"id", "gender", "language", "corpus", *NEEDED}
_NUMBERS = {"snr_db": float, "block": int}
_NAMED = ("audio", "text", "speaker", "id", "gender", "language", "age", "snr_db", "start", "end", "duration")
_OF_OTHERS = {"nemo": {"audio_filepath"}, "cuts": {"supervisions", "tracks"}, "huggingface": {"file_name"}}
"""Kind of corpus -> columns that only it has."""
_AGES = "years (7, 7세), months (72개월), or a group (20-29, twenties, 20대, 60+)"


def import_csv(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    audio: Path | None = None,
    speaker_from: str | None = None,
    one_speaker: str | None = None,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a CSV table with a header; raises one `AsrLabError` that names every faulty row.

    `keys` names the columns of fields; audio paths are relative to the folder `audio`, by default that of the table.
    Speakers are those of the column, or as `speaker_from` and `one_speaker` say.
    """
    _check_there(source)
    report = ImportReport()
    rows = read_table(source, report.notes)
    speakers = Speakers.of(speaker_from, one_speaker)
    return _import_table(source, rows, report, keys or {}, audio, speakers, skip_faulty, progress)


def import_jsonl(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    audio: Path | None = None,
    speaker_from: str | None = None,
    one_speaker: str | None = None,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import JSON lines as `import_csv` does; raises one `AsrLabError` that names every faulty row."""
    _check_there(source)
    report = ImportReport()
    rows = read_jsonl(source, report)
    speakers = Speakers.of(speaker_from, one_speaker)
    return _import_table(source, rows, report, keys or {}, audio, speakers, skip_faulty, progress)


def _check_there(table: Path) -> None:
    if not table.is_file():
        raise AsrLabError("no such table", where=str(table), allowed="a file")


def read_jsonl(table: Path, report: ImportReport) -> list[Row]:
    """Read JSON lines; those that are no objects become faults."""
    rows = []
    for number, line in enumerate(lines(read_text(table, report.notes)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            report.add(f"line {number}", "not JSON", _reason(error), file=table, line=number)
            report.read += 1
            continue
        if isinstance(row, dict):
            rows.append(Row(number, {normalize("NFC", key): value for key, value in row.items()}))
        else:
            report.read += 1
            report.add(f"line {number}", "not a JSON object", line[:60], file=table, line=number)
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
    _check_columns([row.values for row in rows], table, needs_speaker=not speakers.are_given)
    cuts = import_rows(rows, table, audio or table.parent, report, progress, speakers=speakers)
    hints = [] if cuts or audio else [_audio_hint(rows, table)]
    report.settle(table, skip_faulty=skip_faulty, is_left=bool(cuts), hints=hints)
    if "speaker" in keys and not speakers.are_given:
        names = [str(manifest.supervision(cut).speaker) for cut in cuts]
        check_speakers(
            f"the values of --columns speaker={keys['speaker']}", names, [manifest.text(cut) for cut in cuts]
        )
    return ImportResult(splits={"all": cuts}, report=report)


def import_rows(
    rows: Sequence[Row],
    table: Path,
    audio: Path,
    report: ImportReport,
    progress: Progress = no_progress,
    *,
    corpus: str = "",
    speakers: Speakers | None = None,
) -> list[Cut]:
    """Return the utterances of rows with `audio`, `text`, `speaker`, ...; faults are those of lines of `table`."""
    pieces = PieceColumns.of([row.values for row in rows])
    importer = _RowImporter(audio, report, pieces, corpus or table.stem, speakers or Speakers())
    first_lines: dict[str, int] = {}
    cuts: list[Cut] = []
    for done, row in enumerate(rows, start=1):
        item = str(row.values.get("id") or row.values.get("audio") or f"line {row.line}")
        try:
            cut = importer.utterance(row.values)
            if (first := first_lines.setdefault(cut.id, row.line)) != row.line:
                raise AsrLabError(f"duplicate id: that of line {first}")
            cuts.append(cut)
        except AsrLabError as error:
            report.add_error(item, error, file=table, line=row.line)
        progress(done, len(rows))
    report.read += len(rows)
    report.notes += importer.notes(name for row in rows for name in row.values)
    return cuts


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


def _check_columns(rows: Sequence[Mapping[str, Any]], table: Path, *, needs_speaker: bool) -> None:
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
    near = proposed(rows, lacking, taken=NEEDED)
    keys = ",".join(f"{field}={column}" for field, column in near.items())
    kind = "jsonl" if table.suffix == ".jsonl" else "csv"
    more = _audio_hint([Row(0, {"audio": row.get(near.get("audio", "audio"))}) for row in rows], table)
    again = f"asr-lab data import {kind} {quoted(str(table))} OUT --columns {quoted(keys)} {more}".strip()
    hints = ["did you mean " + ", ".join(f"{column} for {field}?" for field, column in near.items())] if near else []
    if "speaker" in lacking and "speaker" not in near:
        hints.append(f"no column looks like that of a speaker: {WAYS}")
    raise AsrLabError(
        f"the table lacks {listing(lacking)}",
        where=str(table),
        allowed=f"columns {', '.join(NEEDED)}, or --columns FIELD=COLUMN,...; it has {listing(columns, 30)}",
        hint="; ".join(hints),
        next_command=again if set(near) == set(lacking) else "",
    )


class _RowImporter:
    """Converts the rows of a table to utterances."""

    def __init__(
        self, audio: Path, report: ImportReport, pieces: PieceColumns, corpus: str, speakers: Speakers
    ) -> None:
        self._report, self._corpus, self._pieces, self._speakers = report, corpus, pieces, speakers
        self._root, self._paths = audio, AudioPaths(audio)
        self._digests: dict[Path, str] = {}

    def utterance(self, row: Mapping[Any, Any]) -> Cut:
        """Return the utterance of a row; raises `AsrLabError` if it has a fault."""
        if None in row:
            raise AsrLabError("more fields than columns", hint='a text with a comma needs quotes: "well, yes"')
        name = row.get("audio")
        if not name:
            raise AsrLabError("the audio file is not named")
        if not isinstance(name, str):
            raise AsrLabError(f"audio is not a path: {str(name)[:60]}", allowed="the path of a file")
        text = _text(row, "text")
        if not text:
            raise AsrLabError("the transcript is missing", where=name)
        speaker, is_guessed = self._speakers.speaker(_text(row, "speaker"), name, _text(row, "id"))
        path = self._paths.find(name)
        whole = manifest.utterance(
            id=_text(row, "id") or self._id_of(str(path.absolute()) if path in self._paths.searched else name),
            audio=path,
            text=text,
            speaker=speaker,
            gender=self._gender(str(row.get("gender") or "")),
            language=str(row.get("language") or ""),
            corpus=str(row.get("corpus") or self._corpus),
            audio_digest=self._digest(path),
            **self._custom(row),
        )
        guesses.mark(manifest.supervision(whole), *["speaker"] * is_guessed)
        piece = self._pieces.piece(row, whole)
        if piece is None:
            return whole
        cut = cut_piece(whole, piece)
        custom = manifest.supervision(cut).custom or {}
        custom = {key: value for key, value in custom.items() if key not in self._pieces.columns}
        cut.supervisions = [fastcopy(manifest.supervision(cut), custom=custom)]
        return cut if _text(row, "id") else _with_id(cut, f"{cut.id}-{_ms(piece.start)}-{_ms(piece.end)}")

    def notes(self, names: Iterable[Any]) -> list[str]:
        """Return a note on the columns that are understood, and on those only kept."""
        columns = dict.fromkeys(str(name) for name in names if name is not None)
        known = {*_KNOWN, *_NUMBERS, "age", "age_group", "l1", *self._pieces.columns}
        understood = listing((name for name in columns if name in known), 30)
        kept = [name for name in columns if name not in known]
        notes = [f"columns understood: {understood}" + (f"; only kept as fields: {listing(kept, 30)}" if kept else "")]
        if more := other_names(kept):
            notes.append(f"ages and genders are read with --columns {more}")
        if searched := self._paths.searched:
            file, named = next(iter(searched.items()))
            notes.append(
                f"{len(searched)} files are not where the table says, and are found by name: {named} is {file}"
            )
        return notes

    def _id_of(self, name: str) -> str:
        """Return the id of an utterance that has none: its path, from the folder of the audio if it is below."""
        path = PurePosixPath(without_suffix(normalize("NFC", name).removeprefix("file://").replace("\\", "/")))
        root = PurePosixPath(normalize("NFC", self._root.absolute().as_posix()))
        inner = path.relative_to(root) if path.is_relative_to(root) else path
        return "-".join(part for part in inner.parts if part not in ("/", ".", ".."))

    def _digest(self, path: Path) -> str:
        """Return the digest of a file, which may have many pieces; "" leaves it to the utterance."""
        if self._pieces.columns and path.is_file() and path not in self._digests:
            self._digests[path] = manifest.file_digest(path)
        return self._digests.get(path, "")

    def _gender(self, text: str) -> str:
        if is_unknown(text):
            return ""
        if not (gender := gender_of(text)):
            self._report.unknown_values["gender"][text] += 1
        return gender or text

    def _custom(self, row: Mapping[str, Any]) -> dict[str, Any]:
        more: dict[str, Any] = {}
        for key, value in row.items():
            if key == "age":
                more |= _age(value)
            elif key not in _KNOWN and value not in (None, ""):
                more[key] = _typed(key, value)
        return {key: value for key, value in more.items() if not isinstance(value, float) or math.isfinite(value)}


def _text(row: Mapping[str, Any], name: str) -> str:
    return "" if (value := row.get(name)) is None else str(value).strip()


def _ms(seconds: float) -> str:
    return f"{round(1000 * seconds):07d}"


def _with_id(cut: Cut, id: str) -> Cut:
    recording = fastcopy(cut.recording, id=id)
    supervision = fastcopy(manifest.supervision(cut), id=id, recording_id=id)
    return fastcopy(cut, id=id, recording=recording, supervisions=[supervision])


def _age(value: Any) -> dict[str, Any]:
    """Return `age` for a number, `age` or `age_group` for a text; raises `AsrLabError` if it is no age."""
    if value is None or isinstance(value, int | float):
        return {} if value is None else {"age": value}
    try:
        return {"age": float(value)} if value else {}
    except ValueError:
        fields = age_of(str(value))
    if "age_range" in fields:
        raise AsrLabError(f"age is not a number: {value!r}", allowed=_AGES)
    return fields


def _typed(key: str, value: Any) -> Any:
    if key not in _NUMBERS or not isinstance(value, str):
        return value
    try:
        return _NUMBERS[key](value)
    except ValueError as error:
        raise AsrLabError(f"{key} is not a number: {value!r}") from error
