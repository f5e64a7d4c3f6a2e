"""Augmentation of training audio, drawn from (seed, epoch, utterance) alone: resuming repeats it exactly."""

from __future__ import annotations

import zlib

import numpy as np
from torch import Tensor

from asr_lab.config.schema import Augment
from asr_lab.data.audio import Signal, change_speed


class Augmenter:
    """Speed perturbation on samples and SpecAugment on features."""

    def __init__(self, settings: Augment, seed: int) -> None:
        self.settings, self.seed = settings, seed

    def _draw(self, cut_id: str, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, purpose, zlib.crc32(cut_id.encode())])

    def samples(self, samples: Signal, cut_id: str, epoch: int) -> Signal:
        """The signal at one of the speed factors."""
        factors = self.settings.speed_factors
        return change_speed(samples, float(self._draw(cut_id, epoch, 0).choice(factors)))

    def features(self, features: Tensor, cut_id: str, epoch: int) -> Tensor:
        """Features (T, F) with time and frequency masks set to 0, the mean of normalised features."""
        draw, settings = self._draw(cut_id, epoch, 1), self.settings
        masked = features.clone()
        num_frames, num_bins = masked.shape
        for _ in range(settings.time_masks):
            width = int(draw.integers(0, int(num_frames * settings.time_mask_share) + 1))
            start = int(draw.integers(0, num_frames - width + 1))
            masked[start : start + width] = 0.0
        for _ in range(settings.freq_masks):
            width = int(draw.integers(0, settings.freq_mask_bins + 1))
            start = int(draw.integers(0, num_bins - width + 1))
            masked[:, start : start + width] = 0.0
        return masked
