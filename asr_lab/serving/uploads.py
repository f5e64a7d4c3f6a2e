"""Read the audio of a request within the limits of a server."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from asr_lab.data.audio import Signal, probe, read_audio
from asr_lab.data.media import Most, decode, needs_decoder
from asr_lab.errors import AsrLabError
from asr_lab.serving.http_errors import ApiError, sentence
from asr_lab.units import SAMPLE_RATE

_WIDEST = 2 * 96_000 // SAMPLE_RATE
"""Stereo of 96 kHz is the most that is held in memory for the seconds allowed."""


def read_upload(content: BinaryIO, most_s: float) -> Signal:
    """Read the audio of a request; raise `ApiError` if it is none, or more than is allowed."""
    with TemporaryDirectory(prefix="asr_lab-") as folder:
        file = Path(folder, "audio")
        with file.open("wb") as written:
            content.seek(0)
            shutil.copyfileobj(content, written)
        try:
            if needs_decoder(file):
                decode(file, decoded := file.with_name("audio.flac"), Most(most_s, _most_samples(most_s)))
                file = decoded
            header = probe(file)
            _check_length(header.frames, header.samplerate, header.channels, most_s)
            return read_audio(file, "")
        except AsrLabError as error:
            message = sentence(error, private=str(Path(folder, "audio")))
            raise ApiError(400, message, param="file", code="invalid_audio") from error


def _check_length(frames: int, rate: int, channels: int, most_s: float) -> None:
    too_long = frames > most_s * rate
    if too_long or frames * channels > _most_samples(most_s):
        seconds = f"over {most_s:g}" if frames <= (most_s + 1) * rate else f"{frames / rate:.0f}"
        lasts = f"{seconds} s of audio" if too_long else f"recordings in {channels} channels at {rate} Hz"
        message = f"{lasts} are more than this server takes; allowed: {most_s:g} s, or fewer channels"
        raise ApiError(413, message.removesuffix(", or fewer channels" * too_long), param="file", code="too_long")


def _most_samples(most_s: float) -> float:
    return most_s * SAMPLE_RATE * _WIDEST
