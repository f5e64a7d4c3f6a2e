"""Log-mel filter banks identical to those of KoSpeech, so that its models can be used.

`torchaudio.compliance.kaldi.fbank` with 80 bins, 20 ms Hamming windows every 10 ms, no dither; normalised by the mean
and standard deviation over all frames and bins of the utterance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchaudio.compliance import kaldi

from asr_lab.data.audio import Signal
from asr_lab.units import FRAME_LENGTH_S, FRAME_SHIFT_S, NUM_MEL_BINS, SAMPLE_RATE

_LOUD = 40 / 10 * math.log(10)  # 40 dB of power, as filter banks have it
_LOWEST = -3.0


def filter_bank(samples: Signal) -> Tensor:
    """Return log-mel energies (T, 80) of a signal (num_samples,) in [-1, 1]; T = `units.num_frames(num_samples)`."""
    features: Tensor = kaldi.fbank(
        torch.from_numpy(samples)[None],
        num_mel_bins=NUM_MEL_BINS,
        frame_length=FRAME_LENGTH_S * 1000,
        frame_shift=FRAME_SHIFT_S * 1000,
        window_type="hamming",
        dither=0.0,
        sample_frequency=SAMPLE_RATE,
    )
    return features


def normalize(features: Tensor) -> Tensor:
    """Normalise to zero mean and unit (population) deviation over the (T, 80) matrix; digital silence stays zero."""
    return (features - features.mean()) / features.std(correction=0).clamp_min(1e-5)


def normalize_speech(features: Tensor) -> Tensor:
    """Normalise by mean and deviation of the loud frames (within 40 dB of the loudest) of a (T, 80) matrix.

    What lies more than 3 deviations below the mean is set there, so that a pause looks the same whether it is digital
    silence or quiet noise, and neither has a part in the statistics.
    """
    level_T = features.mean(dim=1)
    loud = features[level_T >= level_T.max() - _LOUD]
    return ((features - loud.mean()) / loud.std(correction=0).clamp_min(1e-5)).clamp_min(_LOWEST)


def extract(samples: Signal, normalization: str = "utterance") -> Tensor:
    """Return the model input: the normalised filter bank (T, 80) of a signal (num_samples,).

    `normalization` is over the `utterance`, or its `speech`: `normalize`, `normalize_speech`.
    """
    return (normalize if normalization == "utterance" else normalize_speech)(filter_bank(samples))
