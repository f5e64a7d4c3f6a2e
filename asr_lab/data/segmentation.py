"""Cuts a long recording into stretches of speech, and long stretches at their quietest spots, in bounded memory.

Speech is found by silero-vad (Silero Team 2021) where it is installed, whose ONNX weights lie in its package, and by
energy; a stretch is what both take for speech. Stretches are not merged over pauses: what is in a piece of a recording
matters more than how long it is. Nothing of a stretch is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from asr_lab.data.audio import Signal
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE, num_samples

Method = Literal["vad", "energy"]
Levels = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BLOCK = SAMPLE_RATE // 100  # samples of a level: 10 ms
_SILENT_DB = -120.0
_QUIET_DB = 45.0  # below the loud blocks of the surroundings: no speech
_ABOVE_FLOOR_DB = 6.0
_LEAST_DB = 20.0  # below the loud blocks: speech, however little lies below it
_SMOOTHED = 5  # levels over which a quiet spot is looked for: 50 ms
_WINDOW_S = 60.0  # of a recording that are looked at together
_DILATED = 10  # levels by which silero-vad's stretches are made longer: it is late by up to 100 ms
_SHORTEST = 3  # levels: less than 30 ms are a click
_VAD_FRAME, _VAD_CONTEXT = 512, 64  # samples; what silero-vad takes at 16 kHz
_VAD_FRAMES = 256  # of a call: 8 s
_VAD_KEPT = 64  # frames before those asked for, for a stretch that began earlier
_VAD_ON, _VAD_OFF = 0.5, 0.35  # probability of speech that begins a stretch, and below which it ends: silero's own
_VAD_WEIGHTS = "silero_vad_16k_sequence.onnx"


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How a recording is cut; all durations in seconds."""

    method: Method = "vad"
    pause_s: float = 0.2
    """Shortest pause between two stretches."""
    pad_s: float = 0.05
    """Of the pause that a stretch keeps on either side."""
    longest_s: float = 5.0
    """A longer stretch is cut at its quietest spots."""
    context_s: float = 1.0
    """Of the same stretch beyond a cut, which a piece is computed with."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a recording: samples `start` to `end`, which are `samples` without the context around them.

    A piece that starts where the one before it ends goes on with the same stretch.
    """

    samples: Signal
    first: int
    """Sample of the recording at which `samples` begins."""
    start: int
    end: int


def pieces(blocks: Iterable[Signal], cutting: Cutting | None = None) -> Iterator[Piece]:
    """Yield the pieces of a recording that comes in blocks (num_samples,), in order.

    About a minute of it is in memory. Raises `AsrLabError` if silero-vad is asked for and not installed.
    """
    segmenter = Segmenter(cutting or Cutting(method="vad" if has_vad() else "energy"))
    for block in blocks:
        yield from segmenter.push(block)
    yield from segmenter.finish()


class Segmenter:
    """Cuts what it is given so far; keeps what may belong to a piece that has not ended."""

    def __init__(self, cutting: Cutting) -> None:
        self.cutting = cutting
        self._vad = SileroVad() if cutting.method == "vad" else None
        self._kept: list[Signal] = []
        self._first = 0  # sample of the recording at which what is kept begins
        self._next = 0  # sample at which the last piece ended
        self._length = 0

    def push(self, block: Signal) -> Iterator[Piece]:
        """Take the next samples (num_samples,); yield the pieces that have ended."""
        self._kept.append(block)
        self._length += len(block)
        if self._vad:
            self._vad.push(block)
        if self._length - self._first >= num_samples(_WINDOW_S):
            yield from self._take(ended=False)

    def finish(self) -> Iterator[Piece]:
        """Yield the rest."""
        if self._vad:
            self._vad.finish()
        yield from self._take(ended=True)

    def _take(self, *, ended: bool) -> Iterator[Piece]:
        """Yield the pieces of what is kept, but those that later samples may change; keep what is left."""
        samples = np.concatenate(self._kept) if self._kept else np.zeros(0, dtype=np.float32)
        levels_T = levels(samples)
        speech_T = loud(levels_T, by_floor=self._vad is None)
        if self._vad:
            speech_T &= self._vad.speech(self._first // BLOCK, len(levels_T))
        settled = len(levels_T) if ended else max(0, len(levels_T) - _per_10_ms(self.cutting.pause_s) - _DILATED)
        left = settled
        for start, end in stretches(speech_T, self.cutting):
            begin = max(start, self._next // BLOCK - self._first // BLOCK)
            if begin >= end:
                continue
            is_open = end >= settled and not ended
            edges = [begin, *cut_points(levels_T, begin, end, self.cutting, is_open=is_open)]
            if is_open:
                left = min(left, edges[-1])
            else:
                edges.append(end)
            for one, other in pairwise(edges):
                yield self._piece(samples, one, other, start, end)
        drop = max(0, left - _per_10_ms(self.cutting.context_s + self.cutting.pad_s)) * BLOCK
        self._kept = [samples[drop:].copy()]
        self._first += drop

    def _piece(self, samples: Signal, begin: int, end: int, opened: int, closed: int) -> Piece:
        """Return the piece between two levels of a stretch, with context on either side within the stretch."""
        context = _per_10_ms(self.cutting.context_s)
        low, high = max(begin - context, opened) * BLOCK, min(end + context, closed) * BLOCK
        self._next = self._first + end * BLOCK
        return Piece(
            samples=samples[low:high],
            first=self._first + low,
            start=self._first + begin * BLOCK,
            end=self._first + min(end * BLOCK, len(samples)),
        )


def levels(samples: Signal) -> Levels:
    """Return the power (dB) of each 10 ms (T,) of a signal (num_samples,), also of a shorter last one."""
    padded = np.pad(samples, (0, -len(samples) % BLOCK)).astype(np.float64).reshape(-1, BLOCK)
    power = (padded - padded.mean(axis=1, keepdims=True)) ** 2
    return np.asarray(10 * np.log10(power.mean(axis=1) + 10 ** (_SILENT_DB / 10)))


def loud(levels_T: Levels, *, by_floor: bool = True) -> Mask:
    """Return which levels (T,) can be speech: within 45 dB of the loud ones, and `by_floor` above the background."""
    audible = levels_T[levels_T > _SILENT_DB + 20]
    if len(audible) == 0:
        return np.zeros(len(levels_T), dtype=bool)
    peak, floor = np.percentile(audible, 95), np.percentile(audible, 3)
    threshold = peak - _QUIET_DB
    if by_floor:
        threshold = max(threshold, min(floor + _ABOVE_FLOOR_DB, peak - _LEAST_DB))
    return np.asarray(levels_T > threshold)


def stretches(speech_T: Mask, cutting: Cutting) -> list[tuple[int, int]]:
    """Return the stretches (start, end) of speech, in levels; padded, but no further than the middle of a pause.

    They never touch: pieces that do are decoded as one stretch, without a space between their words.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech_T, [False]]).astype(np.int8))).reshape(-1, 2)
    merged: list[list[int]] = []
    for start, end in edges.tolist():
        if merged and start - merged[-1][1] < _per_10_ms(cutting.pause_s):
            merged[-1][1] = end
        else:
            merged.append([start, end])
    kept = [(start, end) for start, end in merged if end - start >= _SHORTEST]
    pad = _per_10_ms(cutting.pad_s)
    middles = [(one[1] + other[0] + 1) // 2 for one, other in pairwise(kept)]
    return [
        (max(start - pad, low), min(end + pad, high))
        for (start, end), low, high in zip(
            kept, [0, *middles], [*(middle - 1 for middle in middles), len(speech_T)], strict=False
        )
    ]


def cut_points(levels_T: Levels, begin: int, end: int, cutting: Cutting, *, is_open: bool = False) -> list[int]:
    """Return where a stretch of levels is cut: at the quietest 50 ms in the second half of the longest piece.

    `is_open`: more of it follows, so that only cuts that this cannot change are made.
    """
    longest = _per_10_ms(cutting.longest_s)
    rest = longest * 3 // 10  # so that no tiny piece is left
    needed = longest + (rest + _per_10_ms(cutting.context_s) if is_open else 0)
    cuts: list[int] = []
    while end - begin > needed:
        low, high = begin + longest // 2, min(begin + longest, end - rest)
        smooth = np.convolve(10 ** (levels_T[low : high + _SMOOTHED] / 10), np.ones(_SMOOTHED), "valid")
        begin = low + int(np.argmin(smooth)) + _SMOOTHED // 2
        cuts.append(begin)
    return cuts


def _per_10_ms(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / BLOCK)


class SileroVad:
    """Silero's detector on a recording that comes in blocks; a probability for each 32 ms."""

    def __init__(self) -> None:
        self._session = _silero()
        self._state = [np.zeros((1, 1, 128), dtype=np.float32)] * 2
        self._rest = np.zeros(0, dtype=np.float32)
        self._context = np.zeros(_VAD_CONTEXT, dtype=np.float32)
        self._probabilities: list[npt.NDArray[np.float32]] = []
        self._dropped = 0

    def push(self, block: Signal) -> None:
        """Take the next samples (num_samples,)."""
        samples = np.concatenate([self._rest, block])
        count = len(samples) // _VAD_FRAME
        self._rest = samples[count * _VAD_FRAME :]
        for start in range(0, count, _VAD_FRAMES):
            self._run(samples[start * _VAD_FRAME : min(count, start + _VAD_FRAMES) * _VAD_FRAME])

    def finish(self) -> None:
        """Take no more: what is left is padded to a frame."""
        if len(self._rest):
            self._run(np.pad(self._rest, (0, _VAD_FRAME - len(self._rest))))

    def _run(self, samples: Signal) -> None:
        frames = samples.reshape(-1, _VAD_FRAME)
        before = np.concatenate([self._context[None], frames[:-1, -_VAD_CONTEXT:]])
        self._context = frames[-1, -_VAD_CONTEXT:]
        inputs = {"input": np.concatenate([before, frames], axis=1), "h": self._state[0], "c": self._state[1]}
        probabilities, *self._state = self._session.run(["speech_probs", "hn", "cn"], inputs)
        self._probabilities.append(probabilities.reshape(-1))

    def speech(self, first: int, count: int) -> Mask:
        """Return which of `count` levels of 10 ms from level `first` on are in or near speech."""
        probabilities = np.concatenate(self._probabilities) if self._probabilities else np.zeros(1, dtype=np.float32)
        drop = max(0, first * BLOCK // _VAD_FRAME - self._dropped - _VAD_KEPT)
        self._probabilities, self._dropped = [probabilities[drop:]], self._dropped + drop
        frames = hysteresis(probabilities[drop:])
        own = np.arange(first, first + count) * BLOCK // _VAD_FRAME - self._dropped
        from scipy.ndimage import binary_dilation

        speech_T = np.asarray(frames[np.minimum(own, len(frames) - 1)])
        return binary_dilation(speech_T, iterations=_DILATED) if speech_T.any() else speech_T


def hysteresis(probabilities: npt.NDArray[np.float32]) -> Mask:
    """Return which frames are speech: from a probability of 0.5 until it falls below 0.35."""
    sure, possible = probabilities >= _VAD_ON, probabilities >= _VAD_OFF
    from scipy.ndimage import label  # 0.2 s of processor time, for long recordings alone

    labels, _ = label(possible)
    return np.asarray(np.isin(labels, np.unique(labels[sure])) & possible)


def has_vad() -> bool:
    """Whether silero-vad and onnxruntime are installed."""
    return find_spec("silero_vad") is not None and find_spec("onnxruntime") is not None


def check_vad() -> None:
    """Raise `AsrLabError` if silero-vad is not installed."""
    if not has_vad():
        raise AsrLabError("silero-vad is not installed", allowed="energy", next_command="pip install 'asr_lab[serve]'")


@lru_cache(maxsize=1)
def _silero() -> Any:
    """Return the session of silero-vad's weights; its package is not imported, as that sets torch's threads to 1."""
    check_vad()
    import onnxruntime

    spec = find_spec("silero_vad")
    assert spec is not None
    assert spec.submodule_search_locations
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    weights = Path(spec.submodule_search_locations[0], "data", _VAD_WEIGHTS)
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
