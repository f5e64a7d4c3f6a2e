"""Augmentation of training audio, drawn from (seed, epoch, utterance) alone: resuming repeats it exactly."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from lhotse.cut import Cut
from torch import Tensor

from asr_lab.config.schema import Augment
from asr_lab.data import noise
from asr_lab.data.audio import Signal, change_speed, read_cut

_SPEED, _MASKS, _NOISE = range(3)  # purposes: each draws from numbers of its own


class Augmenter:
    """Speed perturbation and background noise on samples, SpecAugment on features.

    `recordings` are those that noise is cut from; without any it is made.
    """

    def __init__(self, settings: Augment, seed: int, recordings: Iterable[Cut] = ()) -> None:
        self.settings, self.seed, self.recordings = settings, seed, list(recordings)

    def _draw(self, cut_id: str, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, purpose, zlib.crc32(cut_id.encode())])

    def samples(self, samples: Signal, cut_id: str, epoch: int) -> Signal:
        """The signal at one of the speed factors, with noise where it is drawn."""
        factors = self.settings.speed_factors
        samples = change_speed(samples, float(self._draw(cut_id, epoch, _SPEED).choice(factors)))
        return self._noisy(samples, self._draw(cut_id, epoch, _NOISE)) if self.settings.noise_snr_db else samples

    def _noisy(self, samples: Signal, draw: np.random.Generator) -> Signal:
        settings = self.settings
        if draw.random() >= settings.noise_share:
            return samples
        snr_db = float(draw.uniform(settings.noise_snr_db[0], settings.noise_snr_db[-1]))
        if self.recordings:
            background = noise.piece(self._recording(int(draw.integers(len(self.recordings)))), len(samples), draw)
        else:
            background = noise.made("white" if settings.noise == "white" else "pink", len(samples), draw)
        return noise.mix(samples, background, snr_db)

    @lru_cache(maxsize=64)  # noqa: B019 (an augmenter lives as long as its training)
    def _recording(self, number: int) -> Signal:
        return read_cut(self.recordings[number])

    def features(self, features: Tensor, cut_id: str, epoch: int) -> Tensor:
        """Features (T, F) with time and frequency masks set to 0, the mean of normalised features."""
        draw, settings = self._draw(cut_id, epoch, _MASKS), self.settings
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
