"""KoSpeech's `transcripts.txt`: lines `path.pcm <tab> text <tab> ids`, audio as headerless PCM, WAV or FLAC.

KsponSpeech, prepared by KoSpeech, has no speakers: the folder of a file is used as one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from lhotse.cut import Cut

from asr_lab.data import guesses, manifest, text_files
from asr_lab.data.audio import Signal, read_file
from asr_lab.data.importers.audio_paths import AudioPaths
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.kospeech_units import Units, plain, read_units, unit_of
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.media import written_audio
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import SAMPLE_RATE, counted

_QUIET_DB = 30.0  # below the loudest frame


@dataclass(frozen=True)
class _Line:
    number: int
    path: str
    transcript: str
    """As it is in the file: text, or units separated by spaces."""
    ids: str

    @property
    def text(self) -> str:
        return plain(self.transcript)

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
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a transcripts file; paths are relative to `audio`, by default its folder.

    Subwords and separated graphemes are joined. With a vocabulary file (characters, subwords or graphemes), the ids of
    each line are compared with its text. `drop_silence` writes FLAC files without silence to `out/audio`, as KoSpeech
    reads PCM. Raises one `AsrLabError` that names every faulty line.
    """
    root, report = audio or source.parent, ImportReport()
    units = read_units(vocab) if vocab else None
    lines = _once(_read(source, report), source, report)
    if units and vocab:
        _check_unit(lines, units, vocab)
    speakers = speakers.guessing([line.path for line in lines])
    paths = AudioPaths(root)
    cuts: list[Cut] = []
    read: list[_Line] = []
    for done, line in enumerate(lines, 1):
        try:
            if drop_silence:
                _check_target(line, root, out)
            cuts.append(_utterance(line, paths.find(line.file.as_posix()), speakers))
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
            cuts.append(_write_without_silence(line, paths, speakers))
            progress(done, len(read))
    if not speakers.are_given:
        report.notes.append(f"{counted(len(read), 'utterance', 'name')} no speaker: their folder is used")
    for unit, number in Counter(filter(None, (unit_of(line.transcript) for line in read))).items():
        report.notes.append(f"{number} transcripts are written in {unit}s: joined to text")
    if units and vocab:
        report.notes.append(_compare_ids(read, units, vocab))
    return ImportResult(splits={"all": cuts}, report=report)


def _read(transcripts: Path, report: ImportReport) -> list[_Line]:
    if not transcripts.is_file():
        raise AsrLabError("no such transcripts file", where=str(transcripts))
    lines = []
    for number, row in enumerate(text_files.lines(text_files.read_text(transcripts, report.notes)), start=1):
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


def _check_target(line: _Line, root: Path, out: Path) -> None:
    """Raise `AsrLabError` if the output would be outside `out`, or replace its source."""
    if line.file.is_absolute() or ".." in line.file.parts:
        raise AsrLabError("a path that leaves the folder cannot be written without silence", where=line.path)
    if root.resolve().is_relative_to((out / "audio").resolve()):
        raise AsrLabError(
            "the file without silence would be among the originals, or replace one",
            where=line.path,
            allowed="another folder OUT",
        )


def _write_without_silence(line: _Line, paths: AudioPaths, speakers: Speakers) -> Cut:
    samples = without_silence(read_file(paths.find(line.file.as_posix())))
    target = written_audio().target(line.file.with_suffix(".flac").as_posix())
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(target), samples, SAMPLE_RATE, subtype="PCM_16")
    return _utterance(line, target, speakers)


def without_silence(samples: Signal) -> Signal:
    """Remove stretches more than 30 dB below the loudest frame, as KoSpeech does for PCM files.

    Frames of 2048 samples every 512, reflected at the ends (librosa's `effects.split`, McFee et al. 2015). Silent
    signals are returned unchanged.
    """
    length, hop = 2048, 512
    padded = np.pad(samples.astype(np.float64), length // 2, mode="reflect" if len(samples) > length // 2 else "edge")
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    power = (frames**2).mean(axis=1)
    if power.max() == 0:
        return samples
    loud = 10 * np.log10(np.maximum(power, 1e-10) / max(power.max(), 1e-10)) > -_QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))) * hop
    pieces = [samples[start : min(end, len(samples))] for start, end in edges.reshape(-1, 2)]
    return np.concatenate(pieces)


def _utterance(line: _Line, audio: Path, speakers: Speakers) -> Cut:
    speaker, is_guessed = speakers.speaker("", line.path, line.utterance_id)
    cut = manifest.utterance(
        id=line.utterance_id,
        audio=audio,
        text=line.text,
        speaker=speaker,
        language="ko",
        corpus="kospeech",
    )
    guesses.mark(manifest.supervision(cut), *["speaker"] * is_guessed)
    guesses.mark_korean(manifest.supervision(cut))
    return cut


def _compare_ids(lines: list[_Line], units: Units, vocab: Path) -> str:
    """Return a note on lines whose ids differ from their text; raise `AsrLabError` if all of them do."""
    wrong = [
        f"line {line.number}"
        for line in lines
        if line.ids and line.ids.split() != [str(index) for index in units.encode(line.transcript)]
    ]
    if len(wrong) == sum(bool(line.ids) for line in lines) > 0:
        raise AsrLabError(
            f"the ids of none of the {len(wrong)} lines are those of their text",
            where=str(vocab),
            allowed="the vocabulary that KoSpeech's preprocessing wrote with the transcripts",
            hint="without --vocab ids are not compared: the text counts",
        )
    if not wrong:
        return f"the ids of all {len(lines)} lines are those of their text"
    return (
        f"{counted(len(wrong), 'line', 'have')} ids that are not those of their text: "
        f"{listing(wrong, 5)}; the text counts"
    )


def _check_unit(lines: list[_Line], units: Units, vocab: Path) -> None:
    """Raise `AsrLabError` if the vocabulary is of another unit than the transcripts."""
    for line in lines:
        written = unit_of(line.transcript)
        if written != units.unit and "subword" in (written, units.unit):
            raise AsrLabError(
                f"the vocabulary is of {units.unit}s, and line {line.number} is written in {written or 'character'}s",
                where=str(vocab),
                allowed="the vocabulary that KoSpeech's preprocessing wrote with the transcripts",
            )
