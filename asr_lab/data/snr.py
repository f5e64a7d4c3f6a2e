"""The signal-to-noise ratio of recordings for which nobody gives one, in dB of mean powers over the whole utterance.

Two estimators, both for noise that stays about the same while somebody speaks:

`floor` (the default) takes for the noise of each band of 1 kHz the level it falls to between syllables, as Martin
(2001, "Noise power spectral density estimation based on optimal smoothing and minimum statistics") does.
`wada` (Kim & Stern 2008, "Robust signal-to-noise ratio estimation based on waveform amplitude distribution analysis")
looks at the amplitudes alone: those of speech are Gamma distributed with shape 0.4, those of noise Gaussian.

On made speech of 1.5 s with added white and pink noise of 0 to 20 dB they are off by 0.8 dB and 1.9 dB on average, and
above that by more (at 30 dB: 2.8 and 8.5 dB, too low). Where the noise is eight other people talking, `floor` is 5 dB
too high at 0 dB and 2 at 10 dB, `wada` off by 2 and 1. The tests hold both to that.

Digital silence, which nobody recorded, and a constant offset are left out first. Speech whose every pause is digital
silence shows no noise to measure: clean made speech comes out at about 25 dB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import dawsn, erf, gammaln

from asr_lab.data.audio import Signal

Method = Literal["floor", "wada"]
METHODS: tuple[Method, ...] = ("floor", "wada")
LOWEST, HIGHEST = -20.0, 60.0  # dB; estimates end here

Floats = npt.NDArray[np.float64]

_WINDOW, _HOP, _BINS = 512, 128, 32  # samples; frequency bins of a band: 32 ms every 8 ms, bands of 1 kHz
_QUANTILE = 0.02
_QUANTISATION = 1 / 12 / 32768**2  # power of the rounding to 16 bits: no recording has less noise
_STEP = 1 / 32768  # of 16 bits
_STILL = 128  # samples: as many that are all the same, or round to 0, were put there, not recorded
_SHAPE = 0.4  # of the Gamma distribution of speech amplitudes


def estimate(samples: Signal, method: Method = "floor") -> float:
    """SNR in dB of a signal (num_samples,) at 16 kHz, to a tenth; between -20 and 60, silence being -20."""
    heard = _without_digital_silence(samples)
    if method == "wada":
        heard = heard[heard != 0]
    heard = _without_offset(heard)
    level = float(np.abs(heard).max(initial=0.0))
    found = LOWEST if level == 0 else (_floor if method == "floor" else _wada)(heard)
    return round(float(np.clip(found, LOWEST, HIGHEST)), 1)


def _without_digital_silence(samples: Signal) -> Signal:
    """What was recorded, joined: no band falls to its noise where nothing was."""
    quiet = np.abs(samples) < _STEP / 2
    still = (np.diff(samples) == 0) | (quiet[1:] & quiet[:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8))).reshape(-1, 2)
    recorded = np.ones(len(samples), dtype=bool)
    for start, end in edges[edges[:, 1] - edges[:, 0] >= _STILL - 1]:
        recorded[start : end + 1] = False
    return samples[recorded]


def _without_offset(samples: Signal) -> Signal:
    """Around 0, moved by whole steps of 16 bits, for what rounding made equal must not become tiny differences."""
    offset = np.round(samples.mean(dtype=np.float64) / _STEP) * _STEP if len(samples) else 0.0
    return (samples - offset).astype(np.float32)


def _floor(samples: Signal) -> float:
    power_TB = _band_powers(samples)
    whole_B = power_TB.mean(axis=0)
    noise_B = np.quantile(power_TB, _QUANTILE, axis=0) / _noise_at_the_quantile()
    noise = float(np.clip(noise_B, _QUANTISATION, np.maximum(whole_B, _QUANTISATION)).sum())
    speech = float(whole_B.sum()) - noise
    return LOWEST if speech <= 0 else 10 * float(np.log10(speech / noise))


def _band_powers(samples: Signal) -> Floats:
    """Mean power of each frame and band, (T, B); its mean over both is the signal's power."""
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * window
    power = np.abs(np.fft.rfft(frames, axis=1))[:, 1 : _WINDOW // 2 + 1] ** 2 / (window**2).sum()
    bands: Floats = power.reshape(len(power), -1, _BINS).mean(axis=2)
    return bands


@lru_cache
def _noise_at_the_quantile() -> float:
    """How far below its mean a band of noise is at the quantile: 0.57, measured on a minute of white noise."""
    noise = np.random.default_rng(0).standard_normal(16_000 * 60).astype(np.float32)
    return float(np.quantile(_band_powers(noise), _QUANTILE, axis=0).mean())


def _wada(samples: Signal) -> float:
    amplitudes = np.abs(samples[samples != 0].astype(np.float64))
    spread = float(np.log(amplitudes.mean()) - np.log(amplitudes).mean())
    levels, spreads = wada_table()
    return float(np.interp(spread, spreads, levels))


@lru_cache
def wada_table() -> tuple[Floats, Floats]:
    """(SNRs in dB, ln E|z| - E ln|z|) of z = speech + noise, by numerical integration of the definition.

    Given a speech amplitude of m standard deviations of the noise, z is Gaussian around m: E|z| is the mean of the
    folded normal distribution, and E ln|z| has the derivative sqrt(2) D(m / sqrt(2)) with Dawson's D, and is
    -(gamma + ln 2) / 2 at m = 0. Over the amplitudes (ln-spaced nodes, trapezoid) the Gamma density is the weight.
    """
    step = 0.02
    log_amplitude = np.arange(-60.0, 5.0, step)
    weight = np.exp(_SHAPE * log_amplitude - np.exp(log_amplitude) - gammaln(_SHAPE)) * step
    amplitude = np.exp(log_amplitude)
    at = np.concatenate([[0.0], np.geomspace(1e-4, 50.0, 20_000)])
    slope = np.sqrt(2) * dawsn(at / np.sqrt(2))
    rise = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(at))])
    levels = np.arange(LOWEST, 101.0)
    spreads = []
    for level in levels:
        noise = np.sqrt(_SHAPE * (_SHAPE + 1) / 10 ** (level / 10))  # standard deviation; speech power is k (k + 1)
        m = amplitude / noise
        mean = noise * (np.sqrt(2 / np.pi) * np.exp(-(m**2) / 2) + m * erf(m / np.sqrt(2)))
        near = np.interp(m, at, rise) - (np.euler_gamma + np.log(2)) / 2
        mean_log = np.log(noise) + np.where(m < 50, near, np.log(m) - 1 / (2 * np.maximum(m, 1.0) ** 2))
        spreads.append(np.log((weight * mean).sum()) - (weight * mean_log).sum())
    return levels, np.maximum.accumulate(np.asarray(spreads))  # the last digits below -15 dB are those of rounding
