"""Import a data folder of Kaldi's: `wav.scp`, `text`, `utt2spk`, and `segments`, `spk2gender`, ... if they are there.

With `segments` (utterance, recording, start and end in seconds; an end of -1 is that of the recording), `wav.scp` is
keyed by recordings, else by utterances. `reco2file_and_channel` names the channel of a recording, if its file has
several. A WAV in an archive (`wav.ark:1234`) is written to `out/audio`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asr_lab.data.audio import probe
from asr_lab.data.importers.audio_paths import AudioPaths
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.packed_audio import from_ark
from asr_lab.data.importers.speaker_options import AS_NAMED, WAYS, Speakers
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row, lines, read_text
from asr_lab.errors import AsrLabError

_CHANNELS = "reco2file_and_channel"
_ARK = re.compile(r"(.+\.ark):(\d+)")
_NEEDED = ("wav.scp", "text", "utt2spk")
_OF_UTTERANCES = {"utt2lang": "language", "utt2gender": "gender", "utt2age": "age"}
_OF_SPEAKERS = {"spk2gender": "gender", "spk2age": "age"}
_TO_THE_END = -1.0


def import_kaldi(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the utterances of `text`, with the speakers of `utt2spk`, or those given.

    Audio paths are relative to `audio`, by default `source`, or else, as in Kaldi, the working folder. Raises one
    `AsrLabError` that names every faulty line.
    """
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
    tables = _Tables(source, report)
    paths = AudioPaths(audio or source, *([] if audio else [Path()]))
    rows = list(tables.rows(texts, paths, needs_speaker=not speakers.are_given))
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
    tables.add_unmatched(texts, needs_speaker=not speakers.are_given)
    is_missing = "no such audio file" in report.counts()
    hints = [] if cuts or audio or not is_missing else ["--audio FOLDER, from which the paths of wav.scp start"]
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


class _Tables:
    """The files beside `text`, joined to it by utterances, recordings and speakers."""

    def __init__(self, source: Path, report: ImportReport) -> None:
        self._source, self._report = source, report
        names = ("wav.scp", "utt2spk", "segments", _CHANNELS, *_OF_UTTERANCES, *_OF_SPEAKERS)
        self._of = {name: _entries(source / name, report) for name in names}
        self._has_segments = (source / "segments").is_file()
        self._recordings: dict[str, None] = {}
        self._speakers: dict[str, None] = {}
        self._taken: dict[str, str] = {}

    def rows(self, texts: Mapping[str, Row], paths: AudioPaths, *, needs_speaker: bool) -> Iterator[Row]:
        """Yield a row of a table for each utterance of `text`; those that lack something become faults."""
        for id, (line, fields) in texts.items():
            try:
                row: dict[str, Any] = {"id": id, "text": fields["value"]}
                row["speaker"] = self._value(id, "utt2spk") if needs_speaker else ""
                recording = id
                if self._has_segments:
                    recording, times = _segment(self._value(id, "segments"))
                    row |= times
                self._recordings[recording], self._speakers[row["speaker"]] = None, None
                row["audio"] = self._file(recording, paths)
                row |= self._channel(recording, row["audio"], paths) if "channel" not in row else {}
            except AsrLabError as error:
                self._report.add_error(id, error, file=self._source / "text", line=line)
                continue
            for name, field in {**_OF_SPEAKERS, **_OF_UTTERANCES}.items():
                key = row["speaker"] if name in _OF_SPEAKERS else id
                if key in self._of[name]:
                    row[field] = self._of[name][key].values["value"]
            yield Row(line, row)

    def add_unmatched(self, texts: Mapping[str, Row], *, needs_speaker: bool) -> None:
        """Report what the files have of other utterances, recordings and speakers than those of `text`, or lack."""
        own = {"utt2spk": texts if needs_speaker else {}, "segments": texts, "wav.scp": self._recordings}
        of_side = {_CHANNELS: self._recordings, **dict.fromkeys(_OF_UTTERANCES, texts)}
        of_side |= dict.fromkeys(_OF_SPEAKERS, self._speakers if needs_speaker else {})
        for name, ids in {**own, **of_side}.items():
            of = "recording" if ids is self._recordings else "speaker" if ids is self._speakers else "utterance"
            self._report.add_joined("lines", self._of[name], list(ids), file=self._source / name, of=of)

    def _value(self, key: str, file: str) -> str:
        entries = self._of[file]
        if key not in entries or not entries[key].values["value"]:
            raise AsrLabError(f"it is not in {file}: {key}")
        return str(entries[key].values["value"])

    def _file(self, recording: str, paths: AudioPaths) -> str:
        """Return the path of a recording; one in an archive is written the first time."""
        text = _file(self._value(recording, "wav.scp"))
        if match := _ARK.fullmatch(text):
            if recording not in self._taken:
                name = recording.replace("/", "-")
                self._taken[recording] = str(from_ark(paths.find(match[1]), int(match[2]), name))
            return self._taken[recording]
        return text

    def _channel(self, recording: str, audio: str, paths: AudioPaths) -> dict[str, str]:
        """Return the channel of a recording, of a file that has several."""
        if recording not in self._of[_CHANNELS]:
            return {}
        _, *channel = str(self._of[_CHANNELS][recording].values["value"]).split()
        if len(channel) != 1:
            raise AsrLabError(f"its line in {_CHANNELS} is none: {recording}", allowed="recording file channel")
        return {"channel": channel[0]} if probe(paths.find(audio)).channels > 1 else {}


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
    if text.endswith(".ark"):
        raise AsrLabError(
            f"wav.scp has an archive without a place in it: {text[:60]}",
            allowed="the path of a file, or ARCHIVE.ark:BYTE",
        )
    return text
