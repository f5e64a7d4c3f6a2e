"""Log-mel filter banks identical to those of KoSpeech, so that its models can be used.

Those of `torchaudio.compliance.kaldi.fbank` with 80 bins, 20 ms Hamming windows every 10 ms, no dither, in half its
time; normalised by the mean and standard deviation over all frames and bins of the utterance, or, for recognition while
audio comes in, over those so far.

Shapes: T frames, L samples of a frame, F mel bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torchaudio.compliance import kaldi

from asr_lab.data.audio import Signal
from asr_lab.units import FRAME_LENGTH, FRAME_SHIFT, NUM_MEL_BINS, SAMPLE_RATE

Normalization = Literal["utterance", "speech", "running"]

_PREEMPHASIS = 0.97
_FFT_LENGTH = 512  # the next power of two
_EPSILON = torch.finfo(torch.float32).eps
_LOUD = 40 / 10 * math.log(10)  # 40 dB of power, as filter banks have it
_LOWEST = -3.0
_PRIOR_FRAMES = 50.0  # s/100; how many frames of typical speech come before the first one
_PRIOR_MEAN, _PRIOR_DEVIATION = -5.3, 4.2  # log-mel energies; the mean over the demo corpus' utterances
_SILENT = -15.9  # log-mel energy of digital silence is log(2^-23), -15.94
# The prior is part of every model that was trained with it: other numbers are another kind of normalisation.


@dataclass(frozen=True)
class RunningStatistics:
    """Sums over the log-mel energies so far, which begin with those of half a second of typical speech."""

    count: float = _PRIOR_FRAMES * NUM_MEL_BINS
    total: float = _PRIOR_FRAMES * NUM_MEL_BINS * _PRIOR_MEAN
    squares: float = _PRIOR_FRAMES * NUM_MEL_BINS * (_PRIOR_MEAN**2 + _PRIOR_DEVIATION**2)


def filter_bank(samples: Signal) -> Tensor:
    """Return log-mel energies (T, 80) of a signal (num_samples,) in [-1, 1]; T = `units.num_frames(num_samples)`.

    Kaldi's steps in torchaudio's order, so that rounding is the same but for the last bit of the power (1e-6).
    """
    frames_TL = torch.from_numpy(samples).unfold(0, FRAME_LENGTH, FRAME_SHIFT)
    frames_TL = frames_TL - frames_TL.mean(dim=1, keepdim=True)
    padded_TN = frames_TL.new_zeros(len(frames_TL), _FFT_LENGTH)
    windowed_TL = padded_TN[:, :FRAME_LENGTH]
    before_TL = frames_TL * _PREEMPHASIS
    torch.sub(frames_TL[:, 1:], before_TL[:, :-1], out=windowed_TL[:, 1:])
    torch.sub(frames_TL[:, :1], before_TL[:, :1], out=windowed_TL[:, :1])
    windowed_TL.mul_(_window())
    squares = torch.view_as_real(torch.fft.rfft(padded_TN)).square_()  # of real and imaginary parts
    power = squares[..., 0] + squares[..., 1]  # abs().pow(2) takes a root only to square it
    return (power @ _mel_banks()).clamp_min_(_EPSILON).log_()


@cache
def _window() -> Tensor:
    return torch.hamming_window(FRAME_LENGTH, periodic=False)


@cache
def _mel_banks() -> Tensor:
    """Return the weights (FFT bins, F) of the mel bins, from 20 Hz to half the sampling rate, unwarped."""
    banks, _ = kaldi.get_mel_banks(NUM_MEL_BINS, _FFT_LENGTH, float(SAMPLE_RATE), 20.0, 0.0, 100.0, -500.0, 1.0)
    return torch.nn.functional.pad(banks, (0, 1)).T


def normalize(features: Tensor) -> Tensor:
    """Normalise to zero mean and unit (population) deviation over the (T, 80) matrix; digital silence stays zero."""
    centred = features - features.mean()
    norm = torch.linalg.vector_norm(centred, dtype=torch.double)  # as exact as std(), in less time
    return centred.div_((norm / math.sqrt(centred.numel())).clamp_min_(1e-5))


def normalize_speech(features: Tensor) -> Tensor:
    """Normalise by mean and deviation of the loud frames (within 40 dB of the loudest) of a (T, 80) matrix.

    What lies more than 3 deviations below the mean is set there, so that a pause looks the same whether it is digital
    silence or quiet noise, and neither has a part in the statistics.
    """
    level_T = features.mean(dim=1)
    loud = features[level_T >= level_T.max() - _LOUD]
    return ((features - loud.mean()) / loud.std(correction=0).clamp_min(1e-5)).clamp_min(_LOWEST)


def normalize_running(features: Tensor, so_far: RunningStatistics | None = None) -> tuple[Tensor, RunningStatistics]:
    """Normalise each frame of (T, 80) by mean and deviation of the frames up to it; return the statistics after them.

    Frames of digital silence do not count. A signal in pieces, each with the statistics of those before, gives the
    same numbers as in one.
    """
    before = so_far or RunningStatistics()
    exact_TF = features.double()
    counted_T1 = (exact_TF.amax(dim=1, keepdim=True) > _SILENT).double()
    sums_T3 = torch.cat(
        [
            counted_T1 * exact_TF.size(1),
            counted_T1 * exact_TF.sum(dim=1, keepdim=True),
            counted_T1 * exact_TF.square().sum(dim=1, keepdim=True),
        ],
        dim=1,
    ).cumsum(dim=0)
    sums_T3 += torch.tensor([before.count, before.total, before.squares], dtype=torch.double)
    mean_T1 = sums_T3[:, 1:2] / sums_T3[:, :1]
    deviation_T1 = (sums_T3[:, 2:] / sums_T3[:, :1] - mean_T1.square()).clamp_min(1e-10).sqrt()
    after = RunningStatistics(*sums_T3[-1].tolist()) if len(features) else before
    return ((exact_TF - mean_T1) / deviation_T1).float(), after


def extract(samples: Signal) -> Tensor:
    """Return the model input: the normalised filter bank (T, 80) of a signal (num_samples,)."""
    return normalize(filter_bank(samples))


def extract_running(samples: Signal) -> Tensor:
    """Return the input of a streaming model: the filter bank (T, 80), normalised by the frames so far."""
    return normalize_running(filter_bank(samples))[0]


def extract_speech(samples: Signal) -> Tensor:
    """Return the filter bank (T, 80), normalised by its loud frames alone."""
    return normalize_speech(filter_bank(samples))


EXTRACTORS: dict[Normalization, Callable[[Signal], Tensor]] = {
    "utterance": extract,
    "speech": extract_speech,
    "running": extract_running,
}
