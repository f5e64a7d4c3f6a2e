"""Background noise: made, or cut from recordings, added at a signal-to-noise ratio."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from asr_lab.units import SAMPLE_RATE

Signal = npt.NDArray[np.float32]  # as in `audio`, whose imports are too many for the processes that make speech
Kind = Literal["pink", "white"]
_FULL_SCALE = 0.99  # louder mixtures are turned down as a whole, which keeps their SNR


def generate(kind: Kind, num_samples: int, draw: np.random.Generator) -> Signal:
    """Noise (num_samples,): white has a flat power density, pink one of 1/f (above 50 Hz, flat below)."""
    background = draw.standard_normal(num_samples)
    if kind == "pink":
        frequencies = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)  # Hz
        spectrum = np.fft.rfft(background) / np.sqrt(np.maximum(frequencies, 50.0))
        background = np.fft.irfft(spectrum, num_samples)
    return background.astype(np.float32)


def loop_from(recording: Signal, num_samples: int, draw: np.random.Generator) -> Signal:
    """A piece (num_samples,) of a recording from a drawn place on, begun anew at its end."""
    start = int(draw.integers(len(recording)))
    return np.resize(np.roll(recording, -start), num_samples)


def mix(samples: Signal, background: Signal, snr_db: float) -> Signal:
    """The speech with the noise at `snr_db`, the ratio of their mean powers over the whole utterance in dB.

    Turned down where it would go beyond full scale. Silent noise changes nothing.
    """
    noise_power = float(np.mean(background.astype(np.float64) ** 2))
    if noise_power == 0:
        return samples
    wanted = float(np.mean(samples.astype(np.float64) ** 2)) / 10 ** (snr_db / 10)
    mixed = samples + background * np.sqrt(wanted / noise_power)
    peak = float(np.max(np.abs(mixed)))
    scaled: Signal = (mixed * min(1.0, _FULL_SCALE / max(peak, 1e-9))).astype(np.float32)
    return scaled
