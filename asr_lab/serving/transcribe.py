"""Transcribe audio files, optionally with a speaker's adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_lab.data.audio import probe, read_file
from asr_lab.errors import AsrLabError
from asr_lab.models.recognizer import Recognizer
from asr_lab.units import SAMPLE_RATE


@dataclass(frozen=True)
class Transcript:
    """The text of a file; `error` if it could not be read; `note` on conversions of its audio."""

    file: str
    text: str = ""
    error: str = ""
    note: str = ""


def transcribe(recognizer: Recognizer, files: Sequence[Path]) -> Iterator[Transcript]:
    """Yield a transcript of each file, in order; an unreadable file yields one with `error`."""
    for file in files:
        try:
            text = next(recognizer.transcribe([read_file(file)]))
        except AsrLabError as error:
            yield Transcript(str(file), error=error.what)
            continue
        yield Transcript(str(file), text, note=_note(file))


def _note(file: Path) -> str:
    info = probe(file)
    done = []
    if info.channels > 1:
        done.append(f"{info.channels} channels mixed to one")
    if info.samplerate != SAMPLE_RATE:
        done.append(f"resampled from {info.samplerate} Hz")
    return ", ".join(done)
