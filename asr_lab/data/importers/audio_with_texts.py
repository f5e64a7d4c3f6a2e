"""Import a folder of audio with a text file beside each, or with the transcripts of all in one file.

mina/1.wav   mina/1.txt          or one file of lines:   1_0001.wav|text   1_0001<tab>text   1_0001.wav :: text
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from asr_lab.data.importers.audio_paths import is_audio_name, without_suffix
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row, lines, read_text
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

_BESIDE = (".txt", ".lab", ".normalized.txt")
_ONE_FILE = (".txt", ".tsv", ".csv", ".trn", ".lst", ".list", ".text", "")
_LAYOUT = (
    "audio with a .txt of the same name beside each; or one file with a line NAME|TEXT, NAME<tab>TEXT or NAME TEXT each"
)


def import_folder(
    source: Path,
    out: Path,
    *,
    transcripts: Path | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the audio under a folder as `all`; `transcripts` names the file of transcripts if several may be it.

    Where `speakers` names nobody, several folders of audio are guessed to be speakers. Raises one
    `AsrLabError` that names every file without a transcript and every line without a file.
    """
    if not source.is_dir():
        raise AsrLabError("not a folder", where=str(source), allowed=_LAYOUT)
    audio, texts = _scan(source, out)
    if not audio:
        raise AsrLabError("no audio files", where=str(source), allowed=_LAYOUT)
    report = ImportReport()
    named = _Named.of(source, audio)
    if transcripts is None and (beside := _beside(audio, texts)):
        table, rows = source, list(_rows_beside(audio, beside, source, report))
    else:
        table = transcripts or _file_of_transcripts(source, texts, named)
        rows = list(_rows_of_file(table, named, source, report))
        without = sorted(set(audio) - {source / str(row.values["audio"]) for row in rows})
        for path in without:
            report.add(path.relative_to(source).as_posix(), "no transcript", file=table)
            report.read += 1
    speakers = speakers.guessing([str(row.values["audio"]) for row in rows])
    cuts = import_rows(rows, table, source, report, progress, corpus=source.resolve().name, speakers=speakers)
    report.notes[:] = [note for note in report.notes if not note.startswith("columns understood")]
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(cuts))
    return ImportResult(splits={"all": cuts}, report=report)


def _scan(source: Path, out: Path) -> tuple[list[Path], list[Path]]:
    """Return the audio and the text files under a folder, but for hidden ones and what is in OUT."""
    audio, texts = [], []
    for folder, folders, names in os.walk(source):
        inner = Path(folder)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name != "__MACOSX" and inner / name != out
        )
        for name in sorted(name for name in names if not name.startswith(".")):
            if is_audio_name(name):
                audio.append(inner / name)
            elif Path(name).suffix.lower() in (*_BESIDE, *_ONE_FILE):
                texts.append(inner / name)
    return audio, texts


def _beside(audio: Sequence[Path], texts: Sequence[Path]) -> dict[Path, Path]:
    """Return recording -> the text file beside it; {} if fewer than half have one."""
    by_name = {(path.parent, normalize("NFC", path.name).lower()): path for path in texts}
    text_of = {}
    for path in audio:
        stem = normalize("NFC", without_suffix(path.name)).lower()
        for suffix in _BESIDE:
            if text := by_name.get((path.parent, stem + suffix)):
                text_of[path] = text
    return text_of if 2 * len(text_of) >= len(audio) else {}


def _rows_beside(
    audio: Sequence[Path], beside: Mapping[Path, Path], source: Path, report: ImportReport
) -> Iterator[Row]:
    encodings: Counter[str] = Counter()
    for path in audio:
        name = path.relative_to(source).as_posix()
        notes: list[str] = []
        try:
            if path not in beside:
                raise AsrLabError("no text file beside it", allowed=f"{without_suffix(path.name)}.txt")
            text = " ".join(read_text(beside[path], notes).split())
            if not text:
                raise AsrLabError("its text file is empty")
        except AsrLabError as error:
            report.add_error(name, error, file=beside.get(path, path))
            report.read += 1
            continue
        encodings.update(note.rpartition(" is read as ")[2] for note in notes)
        yield Row(0, {"audio": name, "text": text})
    report.notes += [
        f"{counted(number, 'text file', 'are')} read as {encoding}" for encoding, number in encodings.items()
    ]


@dataclass(frozen=True)
class _Named:
    """The audio files by the names that transcripts may use: with and without folders and suffix, in NFC."""

    by_name: Mapping[str, Path | None]
    """None for a name of several files."""
    number: int

    @classmethod
    def of(cls, source: Path, audio: Sequence[Path]) -> _Named:
        by_name: dict[str, list[Path]] = defaultdict(list)
        for path in audio:
            inner = normalize("NFC", path.relative_to(source).as_posix())
            parts = inner.split("/")
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                for name in {end, without_suffix(end)}:
                    by_name[name].append(path)
        return cls({name: paths[0] if len(paths) == 1 else None for name, paths in by_name.items()}, len(audio))

    def path(self, name: str) -> Path:
        """Return the file of a name; raises `AsrLabError` if there is none, or are several."""
        if (key := self._key(name)) is None:
            raise AsrLabError(f"no audio file of that name: {name.strip()[:60]}")
        if (path := self.by_name[key]) is None:
            raise AsrLabError(f"several audio files of that name: {name}", allowed="the name with its folder")
        return path

    def has(self, name: str) -> bool:
        return self._key(name) is not None

    def _key(self, name: str) -> str | None:
        """Return the longest end of a path, perhaps of another machine, that is the name of a file here."""
        parts = normalize("NFC", name.strip().strip('"').replace("\\", "/")).removeprefix("./").split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((end for end in ends if end in self.by_name), None)


_FEW = 3  # lines, which may well begin alike
_NUMBER = re.compile(r"[\d.,:+-]*")
_AT_THE_END = re.compile(r"(.*)\(([^()]+)\)\s*")
_SPLITTERS: dict[str, Callable[[str], list[str]]] = {
    "::": lambda line: line.split("::", 1),
    "|": lambda line: line.split("|"),
    "tabs": lambda line: line.split("\t"),
    "spaces": lambda line: line.split(None, 1),
    ":": lambda line: line.split(":", 1),
    ",": lambda line: next(csv.reader([line])),
    "(NAME) at the end": lambda line: [*match.groups()[::-1]] if (match := _AT_THE_END.fullmatch(line)) else [],
}


def _form(table: Path, named: _Named) -> tuple[str, int]:
    """Return how the lines of a file separate names of audio files and texts, and how many lines do."""
    rows = [line for line in lines(read_text(table)) if line.strip()]
    counts = {
        form: sum(len(cells := split(line)) > 1 and named.has(cells[0]) for line in rows)
        for form, split in _SPLITTERS.items()
    }
    best = max(counts, key=counts.__getitem__)
    return best, counts[best] if 2 * counts[best] >= len(rows) else 0


def _file_of_transcripts(source: Path, texts: Sequence[Path], named: _Named) -> Path:
    counts = {}
    for path in texts:
        try:
            _, number = _form(path, named)
        except AsrLabError:  # no text
            continue
        if number:
            counts[path] = number
    if len(counts) == 1:
        return next(iter(counts))
    looked = f"; text files are {listing((path.relative_to(source) for path in texts), 6)}" if texts else ""
    raise AsrLabError(
        f"several files may hold the transcripts: {listing(path.relative_to(source) for path in counts)}"
        if counts
        else f"no transcripts of the {named.number} audio files{looked}",
        where=str(source),
        allowed=_LAYOUT,
        hint="--transcripts FILE names the file"
        if counts
        else "a table with a header is imported with "
        "asr-lab data import csv TABLE OUT --columns audio=COLUMN,text=COLUMN,speaker=COLUMN",
    )


def _rows_of_file(table: Path, named: _Named, source: Path, report: ImportReport) -> Iterator[Row]:
    if not table.is_file():
        raise AsrLabError("no such file of transcripts", where=str(table))
    form, number = _form(table, named)
    if not number:
        raise AsrLabError("its lines do not begin with names of the audio files", where=str(table), allowed=_LAYOUT)
    split = _SPLITTERS[form]
    rows = [(line, text) for line, text in enumerate(lines(read_text(table, report.notes)), start=1) if text.strip()]
    several = _check_columns([split(text) for _, text in rows], form, named, table)
    for line, content in rows:
        name, *cells = split(content) or [content]
        try:
            path = named.path(name)
        except AsrLabError as error:
            report.add_error(name.strip()[:60], error, file=table, line=line)
            report.read += 1
            continue
        yield Row(line, {"audio": path.relative_to(source).as_posix(), "text": (cells or [""])[0].strip()})
    what = {"|": "bars", ":": "colons", ",": "commas"}.get(form, form)
    report.notes.append(f"transcripts are those of {table.name}: names and texts, separated by {what}")
    starts = Counter(word[0] for _, text in rows if (word := (split(text) or [""])[-1].split()[:1]))
    if form == "spaces" and len(rows) > _FEW and 2 * len(starts) <= len(rows):
        words = listing(starts, 4)
        report.notes.append(f"warning: the texts begin with few different words: {words}; are they speakers?")
    if several:
        report.notes.append(
            f"{counted(several, 'line', 'have')} more than two columns: the second is the text, others are not read"
        )


def _check_columns(rows: Sequence[list[str]], form: str, named: _Named, table: Path) -> int:
    """Return the number of lines with more than two columns; raise `AsrLabError` if it is not clear which is the text.

    The second column is the text in KSS and LJSpeech (`a.wav|text|text`), a speaker in other lists (`a.wav|3|text`).
    """
    several = [cells for cells in rows if len(cells) > 2]
    seconds = [cells[1].strip() for cells in rows if len(cells) > 1]
    has_header = len(rows) > 1 and not named.has(rows[0][0]) and all(named.has(cells[0]) for cells in rows[1:] if cells)
    repeats = len(seconds) > 3 and 2 * len(set(seconds)) <= len(seconds)
    is_unclear = several and (form != "|" or repeats or all(_NUMBER.fullmatch(text) for text in seconds))
    if form in ("tabs", ",", "|") and (has_header or is_unclear):
        raise AsrLabError(
            "its first line is a header" if has_header else f"it has {max(map(len, rows))} columns, and no header",
            where=str(table),
            allowed="names and texts alone, or a table with a header",
            hint=""
            if has_header
            else "a first line with the names of the columns, such as audio,speaker,text, makes it a table",
            next_command=f"asr-lab data import csv {table} OUT --columns audio=COLUMN,text=COLUMN,speaker=COLUMN",
        )
    return len(several)
