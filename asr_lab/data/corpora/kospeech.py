"""KoSpeech's `transcripts.txt`: lines `path.pcm <tab> text <tab> ids`, audio as headerless PCM, WAV or FLAC.

KsponSpeech, which KoSpeech prepares so, names no speakers: the folder a file lies in stands for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    cuts: list[Cut] = []
    seen: dict[str, int] = {}
    for line in lines:
        try:
            cuts.append(_utterance(line, root, out if drop_silence else None))
        except AsrLabError as error:
            faults.append(f"line {line.number}: {error.what} ({error.where or line.path})")
        if line.path in seen:
            faults.append(f"line {line.number}: {line.path} stands in line {seen[line.path]} too")
        seen.setdefault(line.path, line.number)
        if progress:
            progress(line.number, len(lines))
    if faults:
        more = f"\n    and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise AsrLabError(
            f"{len(faults)} faults, nothing was imported:\n    " + "\n    ".join(faults[:_MOST_FAULTS]) + more,
            where=str(transcripts),
            allowed="path <tab> text <tab> ids, with the audio under " + str(root),
        )
    return cuts, _disagreements(lines, vocabulary) if vocabulary else []


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


def _utterance(line: _Line, root: Path, out: Path | None) -> Cut:
    path = Path(line.path.replace("\\", "/"))
    source = root / path
    if out is not None:
        target = (out / "audio" / path).with_suffix(".flac")
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(target), without_silence(read_file(source)), SAMPLE_RATE, subtype="PCM_16")
        source = target
    return manifest.utterance(
        id=path.with_suffix("").as_posix().replace("/", "-"),
        audio=source,
        text=line.text,
        speaker=path.parent.name or "unknown",
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
