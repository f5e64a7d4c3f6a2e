"""Augmentation of training audio, a function of (seed, epoch, utterance) only, so that resuming repeats it exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import soxr
import torch
from lhotse.cut import Cut
from torch import Tensor

from asr_lab.config.schema import Augment, FrameMasking, Joining, Sound
from asr_lab.data import noise
from asr_lab.data.audio import Signal
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.joining import Joiner, random_stream
from asr_lab.units import SAMPLE_RATE

_SPEED, _MASKS, _NOISE = range(3)  # each has a random stream of its own
_FRAME_S = 0.02  # s; hop of the encoders of the wav2vec2 family
# of an utterance that one time mask of wav2vec2's features covers, so that short ones are not masked entirely;
# DeepSpeech2's is the setting `augment.time_mask_share`
_MAX_MASKED_SHARE = 1 / 3


class SoundAugmenter:
    """Speed perturbation and background noise on samples.

    Noise is taken from `recordings`, or generated if there are none.
    """

    def __init__(self, settings: Sound, seed: int, recordings: Iterable[Cut] = ()) -> None:
        self.sound, self.seed, self.recordings = settings, seed, list(recordings)
        self.joiner: Joiner | None = None
        if isinstance(settings, Joining) and settings.join_share:
            self.joiner = Joiner(settings, seed)

    def _draw(self, cut_id: str, epoch: int, purpose: int) -> np.random.Generator:
        return random_stream(self.seed, epoch, purpose, cut_id)

    def joined(self, signals: Sequence[Signal], cut_id: str, epoch: int) -> Signal:
        """Return the one signal, or several with pauses between them, as `joiner` chose them."""
        return self.joiner.join(signals, cut_id, epoch) if self.joiner and len(signals) > 1 else signals[0]

    def samples(self, samples: Signal, cut_id: str, epoch: int) -> Signal:
        """Return the signal at a random speed factor, with random noise."""
        samples = change_speed(samples, self._factor(self._draw(cut_id, epoch, _SPEED)))
        return self._noisy(samples, self._draw(cut_id, epoch, _NOISE)) if self.sound.noise_snr_db else samples

    def _factor(self, draw: np.random.Generator) -> float:
        factor = float(draw.choice(self.sound.speed_factors))
        return factor if draw.random() < self.sound.speed_share else 1.0

    def _noisy(self, samples: Signal, draw: np.random.Generator) -> Signal:
        settings = self.sound
        if draw.random() >= settings.noise_share:
            return samples
        snr_db = float(draw.uniform(settings.noise_snr_db[0], settings.noise_snr_db[-1]))
        if self.recordings:
            background = noise.loop_from(self._recording(int(draw.integers(len(self.recordings)))), len(samples), draw)
        else:
            background = noise.generate("white" if settings.noise == "white" else "pink", len(samples), draw)
        return noise.mix(samples, background, snr_db)

    def features(self, features: Tensor, cut_id: str, epoch: int, joined: int = 1) -> Tensor:
        """Return the features unchanged."""
        return features

    @lru_cache(maxsize=64)  # noqa: B019 (an augmenter lives as long as its training)
    def _recording(self, number: int) -> Signal:
        return read_cut(self.recordings[number])


class Augmenter(SoundAugmenter):
    """`SoundAugmenter`, and SpecAugment on filter banks."""

    def __init__(self, settings: Augment, seed: int, recordings: Iterable[Cut] = ()) -> None:
        super().__init__(settings, seed, recordings)
        self.settings = settings

    def features(self, features: Tensor, cut_id: str, epoch: int, joined: int = 1) -> Tensor:
        """Return features (T, F) with time and frequency masks set to 0, the mean of normalised features.

        Joined utterances get as many time masks, and as narrow, as if each were alone; `joined` is their number.
        """
        draw, settings = self._draw(cut_id, epoch, _MASKS), self.settings
        masked = features.clone()
        num_frames, num_bins = masked.shape
        widest = int(num_frames / joined * settings.time_mask_share)
        for _ in range(settings.time_masks * joined):
            width = int(draw.integers(0, widest + 1))
            start = int(draw.integers(0, num_frames - width + 1))
            masked[start : start + width] = 0.0
        for _ in range(settings.freq_masks):
            width = int(draw.integers(0, settings.freq_mask_bins + 1))
            start = int(draw.integers(0, num_bins - width + 1))
            masked[:, start : start + width] = 0.0
        return masked


class FrameMasker(SoundAugmenter):
    """`SoundAugmenter`, and SpecAugment masks on the encoder input of wav2vec2 models."""

    def __init__(self, settings: FrameMasking, seed: int, recordings: Iterable[Cut] = ()) -> None:
        super().__init__(settings, seed, recordings)
        self.settings = settings

    def masks(
        self, num_frames: int, num_channels: int, cut_id: str, epoch: int, joined: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return (masked frames (U,), masked channels (C,)), true where masked; widths are uniform.

        A time mask covers at most a third of the utterance; `joined` utterances get as many masks as if each were
        alone.
        """
        draw, settings = self._draw(cut_id, epoch, _MASKS), self.settings
        widest_s = settings.strength * settings.time_mask_s
        widest = min(round(widest_s / _FRAME_S), int(num_frames / joined * _MAX_MASKED_SHARE))
        frames_U = _spans(draw, num_frames, settings.time_masks * joined, widest)
        share = settings.strength * settings.feature_mask_share
        return frames_U, _spans(draw, num_channels, settings.feature_masks, int(num_channels * share))


def _spans(draw: np.random.Generator, length: int, count: int, widest: int) -> Tensor:
    """Return a mask (length,) that is true within `count` spans of 0 to `widest` each."""
    masked = torch.zeros(length, dtype=torch.bool)
    for _ in range(count):
        width = int(draw.integers(0, widest + 1))
        start = int(draw.integers(0, length - width + 1))
        masked[start : start + width] = True
    return masked


def change_speed(samples: Signal, factor: float) -> Signal:
    """Change tempo and pitch together, as `sox speed` does (speed perturbation, Ko et al. 2015)."""
    if factor == 1.0:
        return samples
    stretched: Signal = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")
    return stretched
