"""Fine-tuning by a curriculum of phases: more data, weaker steps, and a gate behind each phase."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from asr_lab.config.schema.augment import Wav2Vec2Augment
from asr_lab.config.schema.base import (
    AboveZero,
    Count,
    Data,
    Experiment,
    NotNegative,
    Positive,
    Section,
    Share,
    SomeShare,
)
from asr_lab.config.schema.wav2vec2 import Wav2Vec2Model, Wav2Vec2Train


class Phase(Section):
    """One phase: what it learns from, how, and what it must reach."""

    train: str = ""
    """Manifest to learn from, which holds all of the phase before; empty: `share` of `data.train`."""
    share: SomeShare = 1.0
    """Share of `data.train`; each phase holds all of the one before."""
    epochs: Positive = 5
    lr: AboveZero = 1e-4
    """Peak learning rate."""
    warmup_steps: Count = 0
    """Updates spent warming up, in the place of `train.warmup_share` but at most half of all; 0: that share."""
    grad_clip: NotNegative = 1.0
    """Largest gradient norm; 0: no clipping."""
    augment_strength: Share = 1.0
    """Scales the widths of SpecAugment's masks; 0: none."""
    speed_share: Share = 0.0
    """Share of the utterances at another speed (`curriculum.speed_factors`)."""
    patience: Positive = 3
    """Epochs without a better validation WER after which the phase stops."""
    min_delta: Share = 0.005
    """How much lower (0.01 is one point) the WER must be to count as better for `patience`."""
    target: Share = 0.15
    """Validation WER that is aimed at."""
    accept: Share = 0.18
    """Highest validation WER with which the curriculum goes on."""
    unfreeze: bool = False
    """Merge the adapters into the base and let everything learn, the convolutions too; skipped where the phase before
    met its target, or its validation WER had stopped falling."""

    @model_validator(mode="after")
    def _a_gate(self) -> Self:
        if self.accept < self.target:
            raise ValueError(
                f"accept={self.accept} is below target={self.target}: it is the higher WER that still does"
            )
        return self


class Phase1(Phase):
    """Start: little data, light augmentation."""

    share: SomeShare = 0.2
    epochs: Positive = 10
    lr: AboveZero = 5e-4
    warmup_steps: Count = 500
    augment_strength: Share = 0.5
    patience: Positive = 4
    min_delta: Share = 0.01
    target: Share = 0.25
    accept: Share = 0.30


class Phase2(Phase):
    """Domain: most of the data, full augmentation."""

    share: SomeShare = 0.6
    epochs: Positive = 8
    lr: AboveZero = 3e-4
    warmup_steps: Count = 1000
    speed_share: Share = 0.5
    target: Share = 0.18
    accept: Share = 0.22


class Phase3(Phase):
    """Refine: all of the data."""

    warmup_steps: Count = 500
    augment_strength: Share = 0.75
    speed_share: Share = 0.5


class Phase4(Phase):
    """Soft unfreezing: everything learns a little; over-fitting is its risk."""

    epochs: Positive = 2
    lr: AboveZero = 5e-5
    grad_clip: NotNegative = 0.0
    augment_strength: Share = 0.0
    patience: Positive = 1
    min_delta: Share = 0.002
    target: Share = 0.14
    accept: Share = 0.15
    unfreeze: bool = True


class Curriculum(Section):
    """How the phases are cut out of the data."""

    order: Literal["stratified", "file"] = "stratified"
    """`stratified`: each phase has the ages, SNRs and durations of the whole; `file`: the first of the manifest."""
    hard_share: Share | None = None
    """Share of hard utterances (low SNR, long) in each phase; empty: as in the data."""
    speed_factors: tuple[float, ...] = (0.9, 1.1)
    """The other speeds of `speed_share`."""


class CurriculumExperiment(Experiment):
    """Fine-tune a base of the wav2vec2 family by four phases, each from the best of the one before."""

    recipe: Literal["curriculum"] = "curriculum"
    data: Data = Data()
    augment: Wav2Vec2Augment = Wav2Vec2Augment()
    model: Wav2Vec2Model
    train: Wav2Vec2Train = Wav2Vec2Train()
    curriculum: Curriculum = Curriculum()
    phase1: Phase1 = Phase1()
    phase2: Phase2 = Phase2()
    phase3: Phase3 = Phase3()
    phase4: Phase4 = Phase4()

    @model_validator(mode="after")
    def _set_by_phases(self) -> Self:
        own = {"epochs", "lr", "warmup_steps", "grad_clip", "patience", "min_delta"} & self.train.model_fields_set
        own_augment = {"strength", "speed_factors", "speed_share"} & self.augment.model_fields_set
        if own or own_augment:
            key = f"train.{min(own)}" if own else f"augment.{min(own_augment)}"
            raise ValueError(f"{key} is set by each phase, such as phase1.{_NAMES.get(key, key.partition('.')[2])}")
        if not self.model.pretrained:
            raise ValueError(
                "model.pretrained: a curriculum fine-tunes; name a base: a hub id, a folder, models:/NAME@alias"
            )
        return self

    def phase(self, number: int) -> Phase:
        """Phase 1 to 4."""
        found: Phase = getattr(self, f"phase{number}")
        return found


_NAMES = {"augment.strength": "augment_strength", "augment.speed_factors": "speed_share"}
