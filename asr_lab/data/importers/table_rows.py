"""Rows of any table as utterances: `audio`, `text`, `speaker`, and what else a row has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from lhotse.cut import Cut
from lhotse.utils import fastcopy

from asr_lab.data import guesses, manifest
from asr_lab.data.importers.audio_paths import AudioPaths, without_suffix
from asr_lab.data.importers.contract import Progress, no_progress
from asr_lab.data.importers.hints import other_names
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.pieces import PieceColumns, cut_piece
from asr_lab.data.importers.speaker_fields import OLDEST, age_of, gender_of, is_unknown, says_no_text
from asr_lab.data.importers.speaker_options import AS_NAMED, UNKNOWN, Speakers
from asr_lab.data.text_files import Row
from asr_lab.data.transcript_marks import without_marks
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

NO_WORDS = "no words but marks and signs"
_WORD = re.compile(r"\w")
NEEDED = ("audio", "text", "speaker")
_KNOWN = {"id", "gender", "language", "corpus", *NEEDED}
_NUMBERS = {"snr_db": float, "block": int}


def import_rows(
    rows: Sequence[Row],
    table: Path,
    audio: Path,
    report: ImportReport,
    progress: Progress = no_progress,
    *,
    corpus: str = "",
    speakers: Speakers = AS_NAMED,
    also_from: Path | None = None,
    searches: bool = False,
) -> list[Cut]:
    """Return the utterances of rows with `audio`, `text`, `speaker`, ...; faults are those of lines of `table`.

    Audio paths start from the folder `audio`, or else from `also_from`; with `searches`, paths of another machine and
    names without a folder are searched below `audio`, which is noted.
    """
    pieces = PieceColumns.of([row.values for row in rows])
    paths = AudioPaths(audio, *([also_from] if also_from else []), searches=searches)
    importer = _RowImporter(audio, paths, report, pieces, corpus or table.stem, speakers)
    first_lines: dict[str, int] = {}
    first_texts: dict[tuple[Any, ...], Row] = {}
    cuts: list[Cut] = []
    wordless: list[str] = []
    for done, row in enumerate(rows, start=1):
        item = str(row.values.get("id") or row.values.get("audio") or f"line {row.line}")
        try:
            cut = importer.utterance(row.values)
            if not _WORD.search(without_marks(manifest.text(cut))):
                wordless.append(cut.id)
                continue
            _check_other_text(first_texts.setdefault(_place(cut), row), row)
            if (first := first_lines.setdefault(cut.id, row.line)) != row.line:
                raise AsrLabError(f"duplicate id: that of line {first}")
            cuts.append(cut)
        except AsrLabError as error:
            report.add_error(item, error, file=table, line=row.line)
        progress(done, len(rows))
    report.read += len(rows)
    if wordless:
        report.left_out[NO_WORDS] += len(wordless)
        report.remarks[f"left out: {NO_WORDS}"] += wordless
    report.notes += importer.notes(name for row in rows for name in row.values) if rows else []
    return cuts


def _place(cut: Cut) -> tuple[Any, ...]:
    """Return where the audio of an utterance is: its file, its times and its channels."""
    return cut.recording.sources[0].source, cut.start, cut.duration, str(cut.channel)


def _check_other_text(first: Row, row: Row) -> None:
    """Raise `AsrLabError` if two rows have the same audio, and other texts."""
    if _text(first.values, "text") != _text(row.values, "text"):
        raise AsrLabError(
            f"another text for the same audio: that of line {first.line}",
            allowed="one text for a file, or for each piece of it",
            hint="pieces of a file are named by columns such as start and end, in seconds",
        )


class _RowImporter:
    """Converts the rows of a table to utterances."""

    def __init__(
        self,
        audio: Path,
        paths: AudioPaths,
        report: ImportReport,
        pieces: PieceColumns,
        corpus: str,
        speakers: Speakers,
    ) -> None:
        self._report, self._corpus, self._pieces, self._speakers = report, corpus, pieces, speakers
        self._root, self._paths = audio, paths
        self._digests: dict[Path, str] = {}

    def utterance(self, row: Mapping[Any, Any]) -> Cut:
        """Return the utterance of a row; raises `AsrLabError` if it has a fault."""
        if None in row:
            raise AsrLabError("more fields than columns", hint='a text with a comma needs quotes: "well, yes"')
        name = row.get("audio")
        if isinstance(name, Mapping):  # as `datasets` writes it
            name = name.get("path")
        if not name:
            raise AsrLabError("the audio file is not named")
        if not isinstance(name, str):
            raise AsrLabError(f"audio is not a path: {str(name)[:60]}", allowed="the path of a file")
        text = _text(row, "text")
        if says_no_text(text):
            raise AsrLabError(
                "the transcript is missing" + (f": it is {text}" if text else ""),
                where=name,
                hint=f"if it was spoken, write {text}. with a full stop" if text else "",
            )
        named = _text(row, "speaker")
        speaker, is_guessed = self._speakers.speaker(named, name, _text(row, "id"))
        if speaker == UNKNOWN and named and is_guessed:
            self._report.unnamed_speakers[named] += 1
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
        channel = "" if piece.channel is None else f"-ch{piece.channel}"
        return cut if _text(row, "id") else _with_id(cut, f"{cut.id}-{_ms(piece.start)}-{_ms(piece.end)}{channel}")

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
            what = f"{counted(len(searched), 'file', 'are')} not where the table says, matched by name"
            notes.append(f"{what}: {named} is {file}")
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

    def _age(self, value: Any) -> dict[str, Any]:
        """Return `age` or `age_group`, else `age_range`, which is counted."""
        fields = _age(value)
        if "age_range" in fields:
            self._report.unknown_values["age"][fields["age_range"]] += 1
        return fields

    def _custom(self, row: Mapping[str, Any]) -> dict[str, Any]:
        more: dict[str, Any] = {}
        for key, value in row.items():
            if key == "age":
                more |= self._age(value)
            elif key not in _KNOWN and key not in self._pieces.columns and value not in (None, ""):
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
    """Return `age` for a number of years, `age` or `age_group` for a text, else `age_range`; {} for none."""
    try:
        years = None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return age_of(str(value))
    if years is None or math.isnan(years):
        return {}
    if not 0 < years < OLDEST:
        return {"age_range": str(value)}
    return {"age": years if isinstance(value, str) else value}


def _typed(key: str, value: Any) -> Any:
    if key not in _NUMBERS or not isinstance(value, str):
        return value
    try:
        return _NUMBERS[key](value)
    except ValueError as error:
        raise AsrLabError(f"{key} is not a number: {value!r}") from error
