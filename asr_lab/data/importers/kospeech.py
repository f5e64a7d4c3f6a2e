"""KoSpeech's `transcripts.txt`: lines `path.pcm <tab> text <tab> ids`, audio as headerless PCM, WAV or FLAC.

KsponSpeech, which KoSpeech prepares so, names no speakers: the folder a file lies in stands for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.audio import read_file, without_silence
from asr_lab.data.text import SPACE
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import SAMPLE_RATE

_MOST_FAULTS = 20

Progress = Callable[[int, int], None]


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
        """The path in one word; `a/x.pcm` and `a/x.wav` would be the same."""
        return self.file.with_suffix("").as_posix().replace("/", "-")


def import_kospeech(
    transcripts: Path,
    out: Path,
    *,
    audio: Path | None = None,
    vocabulary: Mapping[str, int] | None = None,
    drop_silence: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Cut], list[str]]:
    """(Utterances of a transcripts file, notes on what was found); paths start from `audio`, else from its folder.

    With a `vocabulary` the ids of each line are held against its text. `drop_silence` writes FLAC files without
    silence to `out/audio`, as KoSpeech hears PCM. Raises one `AsrLabError` that names every line that is wrong.
    """
    root = audio or transcripts.parent
    lines, faults = _read(transcripts)
    faults += _twice(lines)
    cuts: list[Cut] = []
    for done, line in enumerate(lines, 1):
        try:
            if drop_silence:
                _check_target(line, root, out)
            cuts.append(_utterance(line, root / line.file))
        except AsrLabError as error:
            faults.append(f"line {line.number}: {error.what} ({error.where or line.path})")
        if progress and not drop_silence:
            progress(done, len(lines))
    if faults:
        more = f"\n    and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise AsrLabError(
            f"{len(faults)} faults, nothing was imported:\n    " + "\n    ".join(faults[:_MOST_FAULTS]) + more,
            where=str(transcripts),
            allowed="path <tab> text <tab> ids, with the audio under " + str(root),
        )
    if drop_silence:
        cuts = [_without_silence(line, root, out) for line in _told(lines, progress)]
    return cuts, _disagreements(lines, vocabulary) if vocabulary else []


def _told(lines: list[_Line], progress: Progress | None) -> Iterator[_Line]:
    for done, line in enumerate(lines, 1):
        yield line
        if progress:
            progress(done, len(lines))


def _read(transcripts: Path) -> tuple[list[_Line], list[str]]:
    if not transcripts.is_file():
        raise AsrLabError("no such transcripts file", where=str(transcripts))
    try:
        content = transcripts.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        content = transcripts.read_text(encoding="cp949", errors="replace")
    lines, faults = [], []
    for number, row in enumerate(content.splitlines(), start=1):
        fields = row.split("\t")
        if not row.strip():
            continue
        if len(fields) not in (2, 3) or not fields[0].strip() or not fields[1].strip():
            faults.append(f"line {number}: {len(fields)} columns, three are needed: {row[:60]!r}")
            continue
        lines.append(_Line(number, fields[0].strip(), fields[1].strip(), fields[2].strip() if fields[2:] else ""))
    if not lines and not faults:
        raise AsrLabError("the transcripts file is empty", where=str(transcripts))
    return lines, faults


def _twice(lines: list[_Line]) -> list[str]:
    seen: dict[str, _Line] = {}
    faults = []
    for line in lines:
        first = seen.setdefault(line.utterance_id, line)
        if first is not line:
            faults.append(f"line {line.number}: {line.path} is the utterance {first.path} of line {first.number} too")
    return faults


def _target(line: _Line, out: Path) -> Path:
    return (out / "audio" / line.file).with_suffix(".flac")


def _check_target(line: _Line, root: Path, out: Path) -> None:
    """Raise `AsrLabError` where what is written would land elsewhere, or on what is read."""
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


def _disagreements(lines: list[_Line], vocabulary: Mapping[str, int]) -> list[str]:
    """Lines whose ids are not those of their text's characters; characters without an id are left out, as they do."""
    wrong = []
    for line in lines:
        classes = (vocabulary.get(SPACE if character == " " else character) for character in line.text)
        if line.ids and line.ids.split() != [str(index) for index in classes if index is not None]:
            wrong.append(f"line {line.number}")
    if not wrong:
        return [f"the ids of all {len(lines)} lines are those of their text"]
    return [f"{len(wrong)} lines have ids that are not those of their text: {listing(wrong, 5)}; the text counts"]
