"""Import a data folder of Kaldi's: `wav.scp`, `text`, `utt2spk`, and `segments`, `spk2gender`, ... if they are there.

With `segments` (utterance, recording, start and end in seconds; an end of -1 is that of the recording), `wav.scp` is
keyed by recordings, else by utterances.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import WAYS, Speakers
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row, lines, read_text
from asr_lab.errors import AsrLabError

_NEEDED = ("wav.scp", "text", "utt2spk")
_OF_UTTERANCES = {"utt2lang": "language", "utt2gender": "gender", "utt2age": "age"}
_OF_SPEAKERS = {"spk2gender": "gender", "spk2age": "age"}
_TO_THE_END = -1.0


def import_kaldi(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    speaker_from: str | None = None,
    one_speaker: str | None = None,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the utterances of `text`, with the speakers of `utt2spk`, or as `speaker_from` and `one_speaker` say.

    Audio paths are relative to `audio`, by default `source`, or else, as in Kaldi, the working folder. Raises one
    `AsrLabError` that names every faulty line.
    """
    speakers = Speakers.of(speaker_from, one_speaker)
    needed = [name for name in _NEEDED if name != "utt2spk" or not speakers.are_given]
    if missing := [name for name in needed if not (source / name).is_file()]:
        raise AsrLabError(
            f"no {', '.join(missing)}",
            where=str(source),
            allowed=f"a folder with {', '.join(_NEEDED)}",
            hint=WAYS if missing == ["utt2spk"] else "",
        )
    report = ImportReport()
    texts = _entries(source / "text", report)
    rows = _rows(source, texts, report, needs_speaker=not speakers.are_given)
    cuts = import_rows(
        rows,
        source / "text",
        audio or source,
        report,
        progress,
        corpus=source.resolve().name,
        speakers=speakers,
        also_from=None if audio else Path(),
    )
    report.read = len(texts)
    report.notes.clear()
    hints = [] if cuts or audio else ["--audio FOLDER, from which the paths of wav.scp start"]
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(cuts), hints=hints)
    return ImportResult(splits={"all": cuts}, report=report)


def _entries(path: Path, report: ImportReport) -> dict[str, Row]:
    """Return key -> row with the text after the key in `value`; {} without a file."""
    entries: dict[str, Row] = {}
    for number, line in enumerate(lines(read_text(path)) if path.is_file() else (), start=1):
        key, _, value = line.strip(" \t").replace("\t", " ", 1).partition(" ")
        if key in entries:
            report.add(key, "a second time", file=path, line=number)
        elif key:
            entries[key] = Row(number, {"value": value.strip(" \t")})
    return entries


def _rows(source: Path, texts: dict[str, Row], report: ImportReport, *, needs_speaker: bool) -> list[Row]:
    """Return a row of a table for each utterance of `text`; those that lack something become faults."""
    files = {name: _entries(source / name, report) for name in ("wav.scp", "utt2spk", "segments")}
    more = {name: _entries(source / name, report) for name in (*_OF_UTTERANCES, *_OF_SPEAKERS)}
    has_segments = (source / "segments").is_file()
    rows = []
    for id, (line, fields) in texts.items():
        try:
            row: dict[str, Any] = {"id": id, "text": fields["value"]}
            row["speaker"] = _value(files["utt2spk"], id, "utt2spk") if needs_speaker else ""
            recording = id
            if has_segments:
                recording, times = _segment(_value(files["segments"], id, "segments"))
                row |= times
            row["audio"] = _file(_value(files["wav.scp"], recording, "wav.scp"))
        except AsrLabError as error:
            report.add_error(id, error, file=source / "text", line=line)
            continue
        for name, field in {**_OF_SPEAKERS, **_OF_UTTERANCES}.items():
            key = row["speaker"] if name in _OF_SPEAKERS else id
            if key in more[name]:
                row[field] = more[name][key].values["value"]
        rows.append(Row(line, row))
    return rows


def _value(entries: dict[str, Row], key: str, file: str) -> str:
    if key not in entries or not entries[key].values["value"]:
        raise AsrLabError(f"it is not in {file}: {key}")
    return str(entries[key].values["value"])


def _segment(text: str) -> tuple[str, dict[str, Any]]:
    """Return (recording, its times and channel) of a line of `segments`."""
    recording, *rest = text.split()
    if len(rest) not in (2, 3):
        raise AsrLabError(f"its line in segments is none: {text}", allowed="utterance recording start end, in seconds")
    start, end = rest[:2]
    try:
        to_the_end = float(end) == _TO_THE_END
    except ValueError:
        to_the_end = False
    return recording, {"start": start} | ({} if to_the_end else {"end": end}) | (
        {"channel": rest[2]} if rest[2:] else {}
    )


def _file(text: str) -> str:
    if text.endswith("|") or text.startswith("|"):
        raise AsrLabError(
            f"wav.scp has a command, not a file: {text[:60]}",
            allowed="the path of a file",
            hint="write the outputs of the commands to files, and their paths to wav.scp",
        )
    if re.search(r"\.ark(:\d+)?$", text):
        raise AsrLabError(
            f"wav.scp has an archive of Kaldi's, not a file: {text[:60]}",
            allowed="the path of a file",
            hint="wav-copy of Kaldi writes the recordings of an archive to files",
        )
    return text
