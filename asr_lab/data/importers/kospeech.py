"""KoSpeech's `transcripts.txt`: lines `path.pcm <tab> text <tab> ids`, audio as headerless PCM, WAV or FLAC.

KsponSpeech, prepared by KoSpeech, has no speakers: the folder of a file is used as one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile
from lhotse.cut import Cut

from asr_lab.data import manifest, text_files
from asr_lab.data.audio import read_file, without_silence
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.text import SPACE
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import SAMPLE_RATE

BLANK = "<blank>"  # KoSpeech appends it to the units of the vocabulary


@dataclass(frozen=True)
class _Line:
    number: int
    path: str
    text: str
    ids: str

    @property
    def file(self) -> Path:
        return Path(self.path.replace("\\", "/"))

    @property
    def utterance_id(self) -> str:
        """The path without separators and suffix; `a/x.pcm` and `a/x.wav` have the same."""
        return self.file.with_suffix("").as_posix().replace("/", "-")


def import_kospeech(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    vocab: Path | None = None,
    drop_silence: bool = False,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a transcripts file; paths are relative to `audio`, by default its folder.

    With a vocabulary file, the ids of each line are compared with its text. `drop_silence` writes FLAC files without
    silence to `out/audio`, as KoSpeech reads PCM. Raises one `AsrLabError` that names every faulty line.
    """
    root, report = audio or source.parent, ImportReport()
    vocabulary = read_vocabulary(vocab) if vocab else None
    lines = _once(_read(source, report), source, report)
    cuts: list[Cut] = []
    read: list[_Line] = []
    for done, line in enumerate(lines, 1):
        try:
            if drop_silence:
                _check_target(line, root, out)
            cuts.append(_utterance(line, root / line.file))
            read.append(line)
        except AsrLabError as error:
            report.add_error(line.path, error, file=source, line=line.number)
        if not drop_silence:
            progress(done, len(lines))
    allowed = f"path <tab> text <tab> ids, with the audio under {root}"
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(cuts), allowed=allowed)
    if drop_silence:
        cuts = []
        for done, line in enumerate(read, 1):
            cuts.append(_without_silence(line, root, out))
            progress(done, len(read))
    if vocabulary:
        report.notes.append(_compare_ids(read, vocabulary))
    return ImportResult(splits={"all": cuts}, report=report)


def _read(transcripts: Path, report: ImportReport) -> list[_Line]:
    if not transcripts.is_file():
        raise AsrLabError("no such transcripts file", where=str(transcripts))
    try:
        content = transcripts.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        content = transcripts.read_text(encoding="cp949", errors="replace")
    lines = []
    for number, row in enumerate(text_files.lines(content), start=1):
        fields = row.split("\t")
        if not row.strip():
            continue
        if len(fields) not in (2, 3) or not fields[0].strip() or not fields[1].strip():
            report.add(repr(row[:60]), "not three columns", str(len(fields)), file=transcripts, line=number)
            continue
        lines.append(_Line(number, fields[0].strip(), fields[1].strip(), fields[2].strip() if fields[2:] else ""))
    if not lines and not report.faults:
        raise AsrLabError("the transcripts file is empty", where=str(transcripts))
    return lines


def _once(lines: list[_Line], transcripts: Path, report: ImportReport) -> list[_Line]:
    """Return the lines without those of an utterance that an earlier line has, which become faults."""
    first_lines: dict[str, _Line] = {}
    for line in lines:
        first = first_lines.setdefault(line.utterance_id, line)
        if first is not line:
            other = f"{first.path} of line {first.number} is the same utterance"
            report.add(line.path, "duplicate utterance", other, file=transcripts, line=line.number)
    return list(first_lines.values())


def _target(line: _Line, out: Path) -> Path:
    return (out / "audio" / line.file).with_suffix(".flac")


def _check_target(line: _Line, root: Path, out: Path) -> None:
    """Raise `AsrLabError` if the output would be outside `out`, or replace its source."""
    if line.file.is_absolute() or ".." in line.file.parts:
        raise AsrLabError("a path that leaves the folder cannot be written without silence", where=line.path)
    if _target(line, out).resolve() == (root / line.file).resolve():
        raise AsrLabError("the file without silence would replace its original: choose another --out", where=line.path)


def _without_silence(line: _Line, root: Path, out: Path) -> Cut:
    target = _target(line, out)
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(target), without_silence(read_file(root / line.file)), SAMPLE_RATE, subtype="PCM_16")
    return _utterance(line, target)


def _utterance(line: _Line, audio: Path) -> Cut:
    return manifest.utterance(
        id=line.utterance_id,
        audio=audio,
        text=line.text,
        speaker=line.file.parent.name or "unknown",
        language="ko",
        corpus="kospeech",
    )


def _compare_ids(lines: list[_Line], vocabulary: Mapping[str, int]) -> str:
    """Return a note on lines whose ids differ from their text; KoSpeech omits characters without an id."""
    wrong = []
    for line in lines:
        classes = (vocabulary.get(SPACE if character == " " else character) for character in line.text)
        if line.ids and line.ids.split() != [str(index) for index in classes if index is not None]:
            wrong.append(f"line {line.number}")
    if not wrong:
        return f"the ids of all {len(lines)} lines are those of their text"
    return f"{len(wrong)} lines have ids that are not those of their text: {listing(wrong, 5)}; the text counts"


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read KoSpeech's `id,char,freq` or `id,grpm,freq` (UTF-8 or CP949) as unit -> class, with the blank last.

    Raises `AsrLabError` if the file is not a vocabulary, or its ids are not 0, 1, 2, ...
    """
    if not path.is_file():
        raise AsrLabError("no such vocabulary file", where=str(path))
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp949", errors="replace")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if not rows or rows[0][:1] != ["id"] or any(len(row) < 2 for row in rows if row):
        raise AsrLabError("not a vocabulary file", where=str(path), allowed="lines id,char,freq under such a header")
    units = [(row[0], SPACE if row[1] == " " else row[1]) for row in rows[1:] if row]
    if [number for number, _ in units] != [str(index) for index in range(len(units))]:
        raise AsrLabError("the ids are not 0, 1, 2, ... in order", where=str(path))
    vocabulary = {unit: index for index, (_, unit) in enumerate(units)}
    if len(vocabulary) < len(units):
        twice = sorted({unit for index, (_, unit) in enumerate(units) if vocabulary[unit] != index})
        raise AsrLabError(f"units that occur twice: {listing(twice)}", where=str(path))
    vocabulary.setdefault(BLANK, len(units))
    return vocabulary
