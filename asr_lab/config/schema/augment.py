"""Configuration of the augmentation of training audio."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from asr_lab.config.schema.base import AboveZero, Count, NotNegative, Section, Share


class Sound(Section):
    """Augmentation of the waveform, for all models; seeded by (seed, epoch, utterance)."""

    speed_factors: tuple[Annotated[float, Field(gt=0.5, lt=2)], ...] = (1.0,)
    """Speed perturbation: one of these factors for each utterance (Ko et al. 2015 use 0.9, 1.0, 1.1)."""
    speed_share: Share = 1.0
    """Share of the utterances with speed perturbation, drawn again in each epoch."""
    noise_snr_db: tuple[float, ...] = Field(default=(), max_length=2)
    """Range of the signal-to-noise ratio of added background noise (dB), such as 5,20; empty: no noise."""
    noise: str = "pink"
    """`pink`, `white`, or a manifest of noise recordings (they need no transcript)."""
    noise_share: Share = 0.5
    """Share of the utterances with noise, drawn again in each epoch."""

    @property
    def noise_manifest(self) -> str:
        """The manifest of noise recordings; empty for synthetic noise, or none."""
        return self.noise if self.noise_snr_db and self.noise not in ("pink", "white") else ""

    @field_validator("noise_snr_db")
    @classmethod
    def _a_range(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value and value[0] > value[-1]:
            raise ValueError("the lower bound comes first")
        return value


class Joining(Section):
    """Joining of utterances with pauses, as in long recordings; seeded by (seed, epoch, utterance)."""

    join_share: Share = 0.0
    """Share of the batches whose utterances are joined with each other, for models of long recordings; 0: none."""
    join_s: AboveZero = 8.0
    """Longest joined utterance in seconds; the length is drawn anew for each batch. A batch with an utterance of
    half of it or more is not joined."""
    join_pause_s: tuple[Annotated[float, Field(ge=0, le=10)], ...] = Field(
        default=(0.0, 1.0), min_length=1, max_length=2
    )
    """Range of the pauses between joined utterances (s): of zeros, noise, or their own background."""

    @field_validator("join_pause_s")
    @classmethod
    def _of_rising_length(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[0] > value[-1]:
            raise ValueError("the lower bound comes first")
        return value


class Augment(Joining, Sound):
    """Augmentation of filter banks, seeded by (seed, epoch, utterance), so that a resumed run repeats it."""

    time_masks: Count = 2
    """SpecAugment (Park et al. 2019): number of time masks."""
    time_mask_share: Share = 0.05
    """Widest time mask as a share of the utterance (KoSpeech: T/20)."""
    freq_masks: Count = 2
    """SpecAugment: number of frequency masks."""
    freq_mask_bins: int = Field(default=18, ge=0, le=80)
    """Widest frequency mask in mel bins (KoSpeech: 18)."""


class FrameMasking(Sound):
    """Augmentation for encoders of the wav2vec2 family; SpecAugment (Park et al. 2019) masks the encoder's input frames
    and channels, and replaces the masking of the base model."""

    time_masks: Count = 2
    """SpecAugment: number of time masks."""
    time_mask_s: NotNegative = 0.3
    """Widest time mask in seconds: 15 encoder frames, the 30 frames of 10 ms of a filter bank."""
    feature_masks: Count = 2
    """SpecAugment: number of masks over the channels."""
    feature_mask_share: Share = 0.19
    """Widest channel mask as a share of the channels: 15 of 80 mel bins."""
    strength: Share = 1.0
    """Scales the widths of all masks; 0: none."""


class Wav2Vec2Augment(Joining, FrameMasking):
    """`FrameMasking` for recognisers, which can also learn from joined utterances."""
