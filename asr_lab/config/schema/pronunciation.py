"""Configuration of the training of pronunciation assessment models."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from asr_lab.config.schema.augment import FrameMasking
from asr_lab.config.schema.base import AboveZero, BelowOne, Count, Experiment, NotNegative, Positive, Section
from asr_lab.config.schema.loop import Train

TYPES = ("simple", "transformer", "cross", "hierarchical")


class PronunciationData(Section):
    """Utterances with canonical and perceived phonemes (`asr_lab.data.pronunciation`). Manifests are `*.jsonl.gz`."""

    train: str = Field(default="corpora/l2/train.jsonl.gz", min_length=1)
    """Training manifest."""
    val: str = Field(default="corpora/l2/val.jsonl.gz", min_length=1)
    """Validation manifest, used to choose the best epoch, thresholds, fusion and calibration; not the test data."""
    test: str = "corpora/l2/test.jsonl.gz"
    """Test manifest; empty: no test."""
    test_hard: str = ""
    """Second test manifest, of speakers unlike the training speakers; its metrics are `test_hard/...`. Empty: none."""
    max_duration_s: AboveZero = 20.0
    """Longer utterances (seconds) are excluded from training and reported."""


class PronunciationModel(Section):
    """An encoder of the wav2vec2 family, phoneme CTC, and an error logit for each canonical phoneme."""

    type: Literal["simple", "transformer", "cross", "hierarchical"] = "cross"
    """Type of the head. `simple`: an MLP on each phoneme's embedding and the frames around its aligned span.
    `transformer`: self-attention over the frames first. `cross`: canonical phonemes and frames attend to each other.
    `hierarchical`: each task mixes the encoder's layers; phonemes attend to their word and utterance."""
    pretrained: str = ""
    """The encoder: a hub id (`facebook/wav2vec2-large-xlsr-53`, also with `@REVISION`), a folder, `models:/NAME@alias`
    or `runs:/ID/model`, also a pronunciation model; with its sizes. Empty: from scratch, with the sizes below."""
    freeze_features: bool = True
    """Freeze the convolutions of a pretrained encoder's front end."""
    hidden_size: Positive = 144
    """Width of an encoder from scratch, whose input is log-mel energies instead of samples."""
    num_layers: Positive = 4
    """Layers of an encoder from scratch."""
    num_heads: Positive = 4
    """Attention heads of a layer of an encoder from scratch."""
    head_size: Positive = 128
    """Width of the head (1024 with a large encoder)."""
    head_layers: Positive = 2
    """Self-attention layers of the head; `simple` has none."""
    head_heads: Positive = 4
    """Attention heads of the head (8 with a large encoder)."""
    cross_size: Positive = 64
    """Width of the attention between the two tasks of `cross` (512 with a large encoder)."""
    dropout: BelowOne = 0.1
    window: Count = 2
    """Frames of 20 ms before and after a phoneme's aligned span that it attends to."""
    diagnosis: bool = True
    """Also predict the phoneme spoken instead of each canonical phoneme."""
    scores: bool = False
    """Also predict a score of 0 to 2 for each canonical phoneme, if the data has scores."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for size, heads in (("hidden_size", "num_heads"), ("head_size", "head_heads"), ("cross_size", "head_heads")):
            if getattr(self, size) % getattr(self, heads) and not (size == "hidden_size" and self.pretrained):
                raise ValueError(f"model.{size}={getattr(self, size)} is no multiple of {heads}={getattr(self, heads)}")
        if not self.pretrained and not self.freeze_features:
            raise ValueError("model.freeze_features=false is for a pretrained encoder; from scratch everything learns")
        return self


class PronunciationLoss(Section):
    """Weights of the tasks' losses, and of errors, which are rare."""

    weights: Literal["fixed", "uncertainty"] = "fixed"
    """`uncertainty`: learn each task's weight (Kendall et al. 2018, arXiv:1705.07115), starting from those below."""
    phonemes: NotNegative = 1.0
    """Weight of the CTC loss of the spoken phonemes."""
    errors: NotNegative = 1.0
    """Weight of error detection (binary cross-entropy)."""
    diagnosis: NotNegative = 0.3
    """Weight of the diagnosis (cross-entropy); no effect without `model.diagnosis`."""
    scores: NotNegative = 1.0
    """Weight of the score (squared error); no effect without `model.scores`."""
    balance: Literal["none", "class", "focal"] = "none"
    """`class`: errors have the weight `error_weight`; `focal`: confident predictions count less (Lin et al. 2017)."""
    error_weight: AboveZero = 4.0
    """With `class`: weight of an error relative to a correct phoneme."""
    focal_gamma: NotNegative = 2.0
    """With `focal`: the exponent."""


class PronunciationTrain(Train):
    """The training loop; encoder and head have separate learning rates."""

    lr: AboveZero = 1e-3
    """Peak learning rate of the head."""
    encoder_lr: NotNegative = 1e-3
    """Peak learning rate of the encoder (1e-5 for a large pretrained one); 0: freeze it."""
    batch_size: Positive = 8
    weight_decay: NotNegative = 0.01
    grad_clip: NotNegative = 1.0
    choose: Literal["error_f1", "per", "loss"] = "error_f1"  # type: ignore[assignment]  # other figures than of text
    """Validation metric that selects the best epoch; the best checkpoints of the other two are saved separately."""
    examples: Count = 2
    """Number of validation utterances to print after each epoch with their predictions, and to log as a table."""


class PronunciationExperiment(Experiment):
    """Train a pronunciation assessment model."""

    recipe: Literal["pronunciation"] = "pronunciation"
    data: PronunciationData = PronunciationData()
    augment: FrameMasking = FrameMasking(strength=0.25)
    model: PronunciationModel = PronunciationModel()
    loss: PronunciationLoss = PronunciationLoss()
    train: PronunciationTrain = PronunciationTrain()

    @model_validator(mode="after")
    def _registered_as_what_it_is(self) -> Self:
        others = {f"pronunciation-{name}" for name in TYPES} - {f"pronunciation-{self.model.type}"}
        if self.run.register_as in others:
            raise ValueError(f"run.register_as={self.run.register_as} is no name for model.type={self.model.type}")
        if self.train.choose == "error_f1" and not self.loss.errors:
            raise ValueError("train.choose=error_f1 while loss.errors=0: errors are not learned; train.choose=per")
        return self
