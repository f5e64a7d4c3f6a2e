"""Transcribe a long recording stretch by stretch of speech, in bounded memory.

The outputs of the pieces of a stretch are joined before they are decoded, so that no word is lost or doubled at a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lhotse.cut import Cut
from torch import Tensor

from asr_lab.data.audio import Signal, check_samples, read_audio, read_blocks, read_bytes, with_header
from asr_lab.data.cut_audio import read_cut, read_cut_blocks
from asr_lab.data.segmentation import Cutting, Piece, check_vad, has_vad, pieces
from asr_lab.data.speech_activity import no_speech
from asr_lab.data.text import SPACE, WORD_START
from asr_lab.decoding.words import Word
from asr_lab.models.recognizer import Recognizer
from asr_lab.units import SAMPLE_RATE

Segmentation = Literal["auto", "vad", "energy", "none"]
"""How long recordings are cut: `auto` is `vad` if silero-vad is installed, else `energy`; `none`: they are not."""
SEGMENTATIONS: tuple[Segmentation, ...] = get_args(Segmentation)
WHOLE_S = 30.0
"""Seconds up to which a recording is recognised in one piece."""
_STRETCH_S = 60.0
"""Seconds of outputs that are kept of a stretch; of a longer one, the words that have ended are decoded."""
_BLOCK = 10 * SAMPLE_RATE

Encode = Callable[[Sequence[Signal]], list[Tensor]]
"""Computes logits (U, V) of each signal."""
Decode = Callable[[Tensor], tuple[str, Sequence[Word]]]
"""Returns the text of logits (U, V), and its words if they are wanted."""


@dataclass(frozen=True)
class Opened:
    """A recording: its samples (num_samples,), or if it is long the blocks they come in."""

    samples: Signal | None = None
    blocks: Iterable[Signal] = ()
    header: Any = None
    """Of a file, as `probe` returns it."""


@contextmanager
def open_recording(audio: Signal | bytes | Path | Cut, name: str, whole_s: float = WHOLE_S) -> Iterator[Opened]:
    """Yield a recording, in blocks if it is longer than `whole_s`; raises `AsrLabError`, also where a block is read.

    `name` is what messages call audio that has no path.
    """
    if isinstance(audio, Path):
        with with_header(audio) as (plain, header):
            if header.frames > whole_s * header.samplerate:
                yield Opened(None, read_blocks(plain, str(audio)), header)
            else:
                yield Opened(read_audio(plain, str(audio)), (), header)
    elif isinstance(audio, Cut):
        yield Opened(None, read_cut_blocks(audio)) if audio.duration > whole_s else Opened(read_cut(audio))
    else:
        samples = read_bytes(bytes(audio), name) if isinstance(audio, bytes | bytearray) else check_samples(audio, name)
        is_long = len(samples) > whole_s * SAMPLE_RATE
        yield Opened(None, _blocks(samples)) if is_long else Opened(samples)


def _blocks(samples: Signal) -> Iterator[Signal]:
    for start in range(0, len(samples), _BLOCK):
        yield samples[start : start + _BLOCK]


def cutting_of(segmentation: Segmentation) -> Cutting:
    """Return how recordings are cut."""
    assert segmentation != "none"
    return Cutting(method=("vad" if has_vad() else "energy") if segmentation == "auto" else segmentation)


def cut_by(segmentation: Segmentation) -> str:
    """Return the method by which recordings are cut; "" if they are not."""
    return "" if segmentation == "none" else cutting_of(segmentation).method


def check_segmentation(segmentation: Segmentation) -> None:
    """Raise `AsrLabError` if silero-vad is asked for and not installed."""
    if segmentation == "vad":
        check_vad()


@dataclass
class Transcriber:
    """Transcribes the pieces of one recording."""

    recognizer: Recognizer
    encode: Encode
    decode: Decode
    batch_size: int = 1
    """Pieces that are computed together; texts do not depend on it."""

    def transcribe(self, blocks: Iterable[Signal], cutting: Cutting) -> tuple[str, list[Word], float]:
        """Return text and words of a recording in blocks, with times from its beginning, and its duration (s)."""
        self._texts: list[str] = []
        self._words: list[Word] = []
        self._outputs: list[Tensor] = []  # of the stretch that has not ended
        self._began = self._ended = 0  # samples
        length = 0

        def counted() -> Iterator[Signal]:
            nonlocal length
            for block in blocks:
                length += len(block)
                yield block

        waiting: list[Piece] = []
        for piece in pieces(counted(), cutting):
            waiting.append(piece)
            if len(waiting) == self.batch_size:
                self._take(waiting)
                waiting = []
        self._take(waiting)
        self._flush()
        return " ".join(filter(None, self._texts)), self._words, length / SAMPLE_RATE

    def _take(self, parts: Sequence[Piece]) -> None:
        spoken = [one for one in parts if not no_speech(one.samples)]
        for piece, logits_UV in zip(spoken, self.encode([one.samples for one in spoken]), strict=True):
            if not self._outputs or piece.start != self._ended:
                self._flush()
                self._began = piece.start
            done = sum(map(len, self._outputs))
            first = round((piece.start - piece.first) / self._hop)
            count = round((piece.end - self._began) / self._hop) - done  # so that roundings do not add up
            self._outputs.append(logits_UV[first : first + count])
            self._ended = piece.end
            if (done + count) * self._hop > _STRETCH_S * SAMPLE_RATE:
                self._flush_words()

    @property
    def _hop(self) -> float:
        return self.recognizer.frame_shift_s * SAMPLE_RATE

    def _flush_words(self) -> None:
        """Decode the words that have ended."""
        logits_UV = torch.cat(self._outputs)
        units = self.recognizer.units
        path = logits_UV.argmax(dim=-1).tolist()
        breaks = [
            place
            for place, (unit, before) in enumerate(zip(path, [-1, *path], strict=False))
            if unit != before and (units[unit] == SPACE or units[unit].startswith(WORD_START))
        ]  # where a unit begins: one that was cut in two would be written twice
        last = breaks[-1] if breaks else len(path)
        self._outputs = [logits_UV[:last]]
        self._flush()
        self._began += round(last * self._hop)
        self._outputs = [logits_UV[last:]]

    def _flush(self) -> None:
        """Decode what there is of a stretch."""
        logits_UV = torch.cat(self._outputs) if self._outputs else torch.zeros(0, 0)
        self._outputs = []
        if len(logits_UV):
            text, words = self.decode(logits_UV)
            began_s = self._began / SAMPLE_RATE
            self._texts.append(text)
            self._words += [
                replace(one, start_s=round(one.start_s + began_s, 3), end_s=round(one.end_s + began_s, 3))
                for one in words
            ]
