"""Read the audio of utterances: the segment and channels that a cut names, from a file or a member of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from asr_lab.data.audio import (
    HEADERLESS_SUFFIXES,
    Pcm,
    Signal,
    check_length,
    open_audio,
    read_audio,
    read_blocks,
    read_segment,
    to_mono,
)
from asr_lab.data.audio_places import opened_member
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE

if TYPE_CHECKING:
    from lhotse.cut import Cut

PCM_WIDTH = "pcm_width"
"""Custom field: bits of a sample of headerless audio that is not `.pcm` of 16 bits."""


def read_cut(cut: Cut) -> Signal:
    """Return the samples (num_samples,) of an utterance at `SAMPLE_RATE`, its channels averaged.

    Raises as `read_audio` does, and for cuts with several sources or with transforms.
    """
    source, where, segment = _segment(cut)
    return read_audio(source, where, **segment)


def read_native(cut: Cut) -> tuple[npt.NDArray[np.float32], Any]:
    """Return the samples (num_samples, channels) of an utterance as its file has them, and the header of the file.

    They are neither mixed nor resampled. Raises as `read_cut` does.
    """
    source, where, segment = _segment(cut)
    with open_audio(source, where, segment.pop("pcm")) as file:
        samples = read_segment(file, where, **segment)
        to_mono(samples, where)
        check_length(round(len(samples) * SAMPLE_RATE / file.samplerate), where)
        return samples, file


@dataclass(frozen=True)
class Stored:
    """The audio of an utterance in its own file: format and subtype of libsndfile, rate in Hz."""

    format: str
    subtype: str
    rate: int
    has_all_channels: bool
    cut: Cut

    def samples(self, kind: str) -> npt.NDArray[Any]:
        """Return its samples (num_samples, channels) as integers of a kind of soundfile's (`int16`, `int32`)."""
        source, where, segment = _segment(self.cut)
        with open_audio(source, where, segment.pop("pcm")) as file:
            return read_segment(file, where, **segment, kind=kind)


def read_as_stored(cut: Cut) -> Stored:
    """Return how the audio of an utterance is stored; raises as `read_cut` does, but for what comes from decoding."""
    source, where, segment = _segment(cut)
    with open_audio(source, where, segment["pcm"]) as file:
        channels = list(range(file.channels))
        return Stored(file.format, file.subtype, file.samplerate, segment["channels"] == channels, cut)


def read_cut_blocks(cut: Cut) -> Iterator[Signal]:
    """Yield what `read_cut` returns in blocks of about ten seconds."""
    source, where, segment = _segment(cut)
    yield from read_blocks(source, where, **segment)


def _segment(cut: Cut) -> tuple[Path | BinaryIO, str, dict[str, Any]]:
    """Return the file or member of an utterance, what messages call it, and which part of it to read."""
    recording = cut.recording
    if len(recording.sources) != 1 or recording.transforms:
        raise AsrLabError(
            f"utterance {cut.id} has several sources or transforms",
            allowed="one audio file an utterance",
            next_command="asr-lab data import cuts MANIFEST OUT, which renders them",
        )
    (source,) = recording.sources
    wanted = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    segment = {
        "pcm": _pcm_of_cut(cut),
        "start_s": cut.start,
        "duration_s": cut.duration,
        "channels": [source.channels.index(channel) for channel in wanted],
    }
    return opened_member(source.source) or Path(source.source), source.source, segment


def _pcm_of_cut(cut: Cut) -> Pcm | None:
    """Return the format of a recording if it has no header."""
    recording = cut.recording
    width = (cut.supervisions[0].custom or {}).get(PCM_WIDTH) if cut.supervisions else None
    if width is None and not recording.sources[0].source.lower().endswith(HEADERLESS_SUFFIXES):
        return None
    return Pcm(recording.sampling_rate, width or Pcm.width, len(recording.channel_ids))
