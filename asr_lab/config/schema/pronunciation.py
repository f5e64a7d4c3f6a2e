"""Training a model that hears which phonemes were said, and which of those that should have been said are wrong."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from asr_lab.config.schema.augment import Wav2Vec2Augment
from asr_lab.config.schema.base import Experiment, Positive, Section
from asr_lab.config.schema.loop import Train

TYPES = ("simple", "transformer", "cross", "hierarchical")


class PronunciationData(Section):
    """Utterances with canonical and perceived phonemes (`asr_lab.data.pronunciation`). Manifests are `*.jsonl.gz`."""

    train: str = Field(default="corpora/l2/train.jsonl.gz", min_length=1)
    """Manifest to learn from."""
    val: str = Field(default="corpora/l2/val.jsonl.gz", min_length=1)
    """Manifest on which the best epoch, thresholds, fusion and calibration are chosen; never the test data."""
    test: str = "corpora/l2/test.jsonl.gz"
    """Manifest of the final figures; empty: no test."""
    test_hard: str = ""
    """A further manifest of speakers unlike those learned from; its figures are `test_hard/...`. Empty: none."""
    max_duration_s: float = Field(default=20.0, gt=0)
    """Longer utterances (seconds) are left out of training, counted and named."""


class PronunciationModel(Section):
    """An encoder of the wav2vec2 family, phoneme CTC, and an error logit for each canonical phoneme."""

    type: Literal["simple", "transformer", "cross", "hierarchical"] = "cross"
    """How errors are told. `simple`: frames around each aligned phoneme and its embedding -> MLP. `transformer`:
    self-attention over the frames first. `cross`: canonical phonemes and frames attend to each other. `hierarchical`:
    each task mixes the encoder's layers by weights of its own; phonemes know their word and their utterance."""
    pretrained: str = ""
    """The encoder: a hub id (`facebook/wav2vec2-large-xlsr-53`, also with `@REVISION`), a folder, `models:/NAME@alias`
    or `runs:/ID/model`, a model of this recipe too. Its sizes are taken over. Empty: from scratch, sizes below."""
    freeze_features: bool = True
    """The convolutions of a pretrained encoder's own front end stay as they are."""
    hidden_size: Positive = 144
    """Width of an encoder from scratch, which hears log-mel energies instead of samples."""
    num_layers: Positive = 4
    """Layers of an encoder from scratch."""
    num_heads: Positive = 4
    """Attention heads of a layer of an encoder from scratch."""
    head_size: Positive = 128
    """Width of what comes behind the encoder (1024 beside a large one)."""
    head_layers: Positive = 2
    """Self-attention layers behind the encoder; `simple` has none."""
    head_heads: Positive = 4
    """Attention heads behind the encoder (8 beside a large one)."""
    cross_size: Positive = 64
    """Width of the attention between the two tasks of `cross` (512 beside a large encoder)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    window: int = Field(default=2, ge=0)
    """Frames of 20 ms before and behind a phoneme's aligned span that its error logit may attend to."""
    diagnosis: bool = True
    """Tell what was said in the place of each canonical phoneme too."""
    scores: bool = False
    """Predict a score of 0 to 2 for each canonical phoneme too, where the data has them."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for size, heads in (("hidden_size", "num_heads"), ("head_size", "head_heads"), ("cross_size", "head_heads")):
            if getattr(self, size) % getattr(self, heads) and not (size == "hidden_size" and self.pretrained):
                raise ValueError(f"model.{size}={getattr(self, size)} is no multiple of {heads}={getattr(self, heads)}")
        if not self.pretrained and not self.freeze_features:
            raise ValueError("model.freeze_features=false is for a pretrained encoder; from scratch everything learns")
        return self


class PronunciationLoss(Section):
    """What the tasks' losses count, and how errors, which are rare, are weighed."""

    weights: Literal["fixed", "uncertainty"] = "fixed"
    """`uncertainty`: each task's weight is learned (Kendall et al. 2018, arXiv:1705.07115), from the ones below."""
    phonemes: float = Field(default=1.0, ge=0)
    """Weight of CTC on what was said."""
    errors: float = Field(default=1.0, ge=0)
    """Weight of the error of each canonical phoneme (binary cross-entropy)."""
    diagnosis: float = Field(default=0.3, ge=0)
    """Weight of what was said in its place (cross-entropy); no effect without `model.diagnosis`."""
    scores: float = Field(default=1.0, ge=0)
    """Weight of the score (squared error); no effect without `model.scores`."""
    balance: Literal["none", "class", "focal"] = "none"
    """`class`: an error counts `error_weight` times; `focal`: sure answers count little (Lin et al. 2017)."""
    error_weight: float = Field(default=4.0, gt=0)
    """With `class`: how much more an error counts than what was said right."""
    focal_gamma: float = Field(default=2.0, ge=0)
    """With `focal`: the exponent."""


class PronunciationTrain(Train):
    """The training loop; encoder and what is behind it have learning rates of their own."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of everything behind the encoder."""
    encoder_lr: float = Field(default=1e-3, ge=0)
    """Peak learning rate of the encoder (1e-5 for a large pretrained one); 0: it stays as it is."""
    batch_size: Positive = 8
    weight_decay: float = Field(default=0.01, ge=0)
    grad_clip: float = Field(default=1.0, ge=0)
    choose: Literal["error_f1", "per", "loss"] = "error_f1"  # type: ignore[assignment]  # other figures than of text
    """Which validation figure says what is best; the other two have folders of their own among the checkpoints."""
    examples: int = Field(default=2, ge=0)
    """Validation utterances that are shown after each epoch, true and predicted, and logged as a table."""


class PronunciationExperiment(Experiment):
    """Train a model of pronunciation assessment."""

    recipe: Literal["pronunciation"] = "pronunciation"
    data: PronunciationData = PronunciationData()
    augment: Wav2Vec2Augment = Wav2Vec2Augment(strength=0.25)
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
