"""Whether a recording can hold speech at all: recognisers write letters for steady noise, which they never saw alone.

A signal of noise is steady in time (the level of each band of 1 kHz hardly changes) and without structure in frequency
(the bins of a band are exponentially distributed: spectral flatness 0.56 in expectation, whatever the colour of the
noise). A sung vowel is steady but harmonic, speech changes. Of 4,874 recordings of FSDD, speechocean762 and synthetic
speech none is taken for noise; with white noise at 5 dB 2 of FSDD's 2,000 digits are, at 0 dB 13, and none of the
others. Brown noise, whose level in 32 ms changes as much, is not recognised. Clicks, shorter than a frame, are no
speech: what is around them is judged.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import numpy.typing as npt

from asr_lab.data.audio import Signal

Powers = npt.NDArray[np.float64]

_WINDOW, _HOP, _BINS = 512, 256, 32  # samples; frequency bins of a band: 32 ms every 16 ms, bands of 1 kHz
_STEP = 1 / 32768  # of 16 bits
_SILENT = 4 * _STEP  # a peak that is nothing but rounding and dither
_STEADY_DB = 1.25  # standard deviation of a band's level over time: 1.0 to 1.2 of noise, above 1.4 of speech
_FLAT = 0.47  # spectral flatness in a band: 0.50 to 0.58 of noise, 0.38 of a vowel
_PARTS = 8  # of a frame, none of which may be digital silence
_CLICK_DB, _CLICK = 15.0, 3  # above the median of the frames, for at most so many of them: under 32 ms
_SPARSE = 0.1  # of a signal, in which no frame is free of digital silence: clicks, not speech of few bits
_BLOCK = 64_000  # samples: steadiness is that of 4 s, so that one word in a minute of noise is not missed


def no_speech(samples: Signal) -> str:
    """Return why a signal (num_samples,) holds no speech: `silence`, `steady noise` or `clicks`; "" if it may."""
    if len(samples) == 0 or float(np.ptp(samples)) <= 2 * _SILENT:
        return "silence"
    starts = [*range(0, max(1, len(samples) - _BLOCK), _BLOCK), max(0, len(samples) - _BLOCK)]
    return _reason({_noise(samples[start : start + _BLOCK]) for start in starts})


class SpeechActivity:
    """`no_speech` of a signal that comes in pieces; at most 8 s of it are kept."""

    def __init__(self) -> None:
        self._lowest, self._highest = np.inf, -np.inf
        self._kept = np.zeros(0, dtype=np.float32)  # from the last block that was looked at on
        self._checked = 0  # samples of what is kept that are in such blocks
        self._found = set[str]()  # in these blocks

    def push(self, piece: Signal) -> None:
        """Take the next samples (num_samples,)."""
        if len(piece) == 0:
            return
        self._lowest, self._highest = min(self._lowest, float(piece.min())), max(self._highest, float(piece.max()))
        if "" in self._found:
            return
        self._kept = np.concatenate([self._kept, piece])
        while len(self._kept) - self._checked > _BLOCK and "" not in self._found:
            self._found.add(_noise(self._kept[self._checked : self._checked + _BLOCK]))
            self._kept, self._checked = self._kept[self._checked :], _BLOCK

    def no_speech(self) -> str:
        """Return what `no_speech` returns of the whole so far."""
        if self._highest - self._lowest <= 2 * _SILENT or len(self._kept) == 0:
            return "silence"
        return "" if "" in self._found else _reason({*self._found, _noise(self._kept[-_BLOCK:])})


def _reason(found: Set[str]) -> str:
    """Return what blocks together are, of what each is."""
    return "" if "" in found else max(found)


def _noise(samples: Signal) -> str:
    """Return what at most 4 s are: `steady noise`, also with clicks, or `clicks` in digital silence; "" for others."""
    power_TBK = _without_clicks(_powers(samples))
    if len(power_TBK) < 2:
        return "clicks" if len(samples) > 2 * _WINDOW and _activity(samples) < _SPARSE else ""
    level_TB = power_TBK.mean(axis=2)
    flatness = float((np.exp(np.log(power_TBK).mean(axis=2)) / level_TB).mean())
    steadiness_db = float((10 * np.log10(level_TB)).std(axis=0).mean())
    return "steady noise" if steadiness_db < _STEADY_DB and flatness > _FLAT else ""


def _activity(samples: Signal) -> float:
    """Return the share of a signal that is no digital silence."""
    part = _WINDOW // _PARTS
    parts = samples[: len(samples) // part * part].reshape(-1, part)
    return float((np.ptp(parts, axis=1) > _STEP).mean())


def _without_clicks(power_TBK: Powers) -> Powers:
    """Return the powers without those frames, few in a row, that are far above the others."""
    if len(power_TBK) < 2:
        return power_TBK
    level_T = 10 * np.log10(power_TBK.mean(axis=(1, 2)))
    above_T = level_T > np.median(level_T) + _CLICK_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above_T, [False]]).astype(np.int8))).reshape(-1, 2)
    for start, end in edges.tolist():
        above_T[start:end] = end - start <= _CLICK
    kept_TBK: Powers = power_TBK[~above_T]
    return kept_TBK


def _powers(samples: Signal) -> Powers:
    """Return the power of each frame, band and bin (T, B, K); frames of digital silence and offsets are left out."""
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    recorded = frames[np.ptp(frames.reshape(len(frames), _PARTS, -1), axis=2).min(axis=1) > _STEP]
    power = np.abs(np.fft.rfft(recorded * window, axis=1))[:, 1 : _WINDOW // 2 + 1] ** 2
    return (power + 1e-12).reshape(len(power), _WINDOW // 2 // _BINS, _BINS)
