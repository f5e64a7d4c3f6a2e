"""Configuration of curriculum fine-tuning: phases of growing data and smaller steps, with a gate after each."""

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
    """One phase: its data, training settings and target."""

    train: str = ""
    """Training manifest, a superset of the previous phase's; empty: `share` of `data.train`."""
    share: SomeShare = 1.0
    """Share of `data.train`; each phase includes the data of the previous one."""
    epochs: Positive = 5
    lr: AboveZero = 1e-4
    """Peak learning rate."""
    warmup_steps: Count = 0
    """Warm-up updates, instead of `train.warmup_share`, at most half of all updates; 0: use that share."""
    grad_clip: NotNegative = 1.0
    """Largest gradient norm; 0: no clipping."""
    augment_strength: Share = 1.0
    """Scales the widths of SpecAugment's masks; 0: none."""
    speed_share: Share = 0.0
    """Share of the utterances with speed perturbation (`curriculum.speed_factors`)."""
    patience: Positive = 3
    """Stop the phase after this many epochs without a better validation WER."""
    min_delta: Share = 0.005
    """Smallest decrease of the WER (0.01 is one point) that counts as better for `patience`."""
    target: Share = 0.15
    """Target validation WER."""
    accept: Share = 0.18
    """Highest validation WER with which the curriculum continues."""
    unfreeze: bool = False
    """Merge adapters into the base and train all layers, including the convolutions; skipped if the previous phase met
    its target, or if its validation WER had stopped improving."""

    @model_validator(mode="after")
    def _a_gate(self) -> Self:
        if self.accept < self.target:
            raise ValueError(f"accept={self.accept} is below target={self.target}: it is the highest WER that passes")
        return self


class Phase1(Phase):
    """First phase: little data, light augmentation."""

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
    """Second phase: most of the data, full augmentation."""

    share: SomeShare = 0.6
    epochs: Positive = 8
    lr: AboveZero = 3e-4
    warmup_steps: Count = 1000
    speed_share: Share = 0.5
    target: Share = 0.18
    accept: Share = 0.22


class Phase3(Phase):
    """Third phase: all data."""

    warmup_steps: Count = 500
    augment_strength: Share = 0.75
    speed_share: Share = 0.5


class Phase4(Phase):
    """Fourth phase: fine-tune all layers with a small learning rate; it may overfit."""

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
    """How the data of the phases is selected."""

    order: Literal["stratified", "file"] = "stratified"
    """`stratified`: each phase has the distribution of ages, SNRs and durations of all data; `file`: manifest order."""
    hard_share: Share | None = None
    """Share of hard utterances (low SNR, long) in each phase; empty: as in the data."""
    speed_factors: tuple[float, ...] = (0.9, 1.1)
    """Factors of speed perturbation."""


class CurriculumExperiment(Experiment):
    """Fine-tune a base of the wav2vec2 family in four phases, each from the best of the previous one."""

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

    def part_manifests(self) -> dict[str, str]:
        numbered = {f"phase{number}.train": self.phase(number).train for number in (1, 2, 3, 4)}
        return {key: path for key, path in numbered.items() if path}

    def phase(self, number: int) -> Phase:
        """Phase 1 to 4."""
        phase: Phase = getattr(self, f"phase{number}")
        return phase


_NAMES = {"augment.strength": "augment_strength", "augment.speed_factors": "speed_share"}
