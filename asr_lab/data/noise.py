"""Background noise, generated or taken from recordings, added at a given SNR."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from asr_lab.units import SAMPLE_RATE

Signal = npt.NDArray[np.float32]  # as in `audio`, whose imports would slow down the synthesis workers
Kind = Literal["pink", "white"]
_FULL_SCALE = 0.99  # louder mixtures are scaled down, at the same SNR


def generate(kind: Kind, num_samples: int, draw: np.random.Generator) -> Signal:
    """Generate noise (num_samples,): white (flat power density) or pink (1/f above 50 Hz, flat below)."""
    background = draw.standard_normal(num_samples)
    if kind == "pink":
        frequencies = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)  # Hz
        spectrum = np.fft.rfft(background) / np.sqrt(np.maximum(frequencies, 50.0))
        background = np.fft.irfft(spectrum, num_samples)
    return background.astype(np.float32)


def loop_from(recording: Signal, num_samples: int, draw: np.random.Generator) -> Signal:
    """Return a segment (num_samples,) of a recording from a random offset, looped at the end."""
    start = int(draw.integers(len(recording)))
    return np.resize(np.roll(recording, -start), num_samples)


def mix(samples: Signal, background: Signal, snr_db: float) -> Signal:
    """Mix speech and noise at `snr_db`, the ratio of their mean powers over the utterance in dB.

    The mixture is scaled down if it would clip. Silent noise changes nothing.
    """
    noise_power = float(np.mean(background.astype(np.float64) ** 2))
    if noise_power == 0:
        return samples
    wanted = float(np.mean(samples.astype(np.float64) ** 2)) / 10 ** (snr_db / 10)
    mixed = samples + background * np.sqrt(wanted / noise_power)
    peak = float(np.max(np.abs(mixed)))
    scaled: Signal = (mixed * min(1.0, _FULL_SCALE / max(peak, 1e-9))).astype(np.float32)
    return scaled
