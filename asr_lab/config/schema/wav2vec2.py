"""Configuration of wav2vec2 training: from a pretrained base model, or a tiny model from scratch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from asr_lab.config.schema.augment import Wav2Vec2Augment
from asr_lab.config.schema.base import AboveZero, BelowOne, Count, NotNegative, Positive, RecognitionModel, Section
from asr_lab.config.schema.loop import Train
from asr_lab.config.schema.recognition import RecognitionExperiment


class Lora(Section):
    """Low-rank adaptation (Hu et al. 2022, arXiv:2106.09685), or another method of peft."""

    method: Literal["lora", "dora", "rslora", "loha", "lokr", "ia3"] = "lora"
    """`dora`: weight-decomposed (Liu et al. 2024); `rslora`: scaled by alpha / sqrt(r) (Kalajdzievski 2023); `loha`,
    `lokr`: Hadamard and Kronecker products (Yeh et al. 2024); `ia3`: learned scales alone (Liu et al. 2022)."""
    r: Positive = 16
    """Rank; no effect with `ia3`."""
    alpha: Positive = 32
    """The adapters' output is scaled by alpha / r; no effect with `ia3`."""
    dropout: BelowOne = 0.1
    """Dropout before the adapters; no effect with `ia3`."""
    targets: tuple[str, ...] = Field(default=("q_proj", "k_proj", "v_proj"), min_length=1)
    """Names of the linear layers within each encoder layer."""

    @model_validator(mode="after")
    def _scales_have_no_rank(self) -> Self:
        fields = Lora.model_fields
        if self.method == "ia3":
            for name in ("r", "alpha", "dropout"):
                if getattr(self, name) != fields[name].default:
                    raise ValueError(f"model.lora.{name} has no effect with method=ia3, which learns scales alone")
        return self


class Wav2Vec2Model(RecognitionModel):
    """wav2vec 2.0, XLS-R, HuBERT or WavLM with a CTC head; the default sizes are those of a tiny model from scratch."""

    pretrained: str = ""
    """The base model: a hub id (`facebook/wav2vec2-xls-r-300m`, also with `@REVISION`), a folder (needs no network),
    `models:/NAME@alias` or `runs:/ID/model`, with its sizes. Empty: from scratch, with the sizes below."""
    head: Literal["auto", "new", "keep"] = "auto"
    """CTC head and vocabulary: `new` for the training transcripts, or `keep` those of the base with its text
    normaliser, which `data.text` must name if others trained it. `auto`: keep them if the base was trained with
    asr_lab, else new."""
    tune: Literal["full", "upper", "head", "lora"] = "full"
    """What to train besides the head: all layers, those above `freeze_layers`, none, or adapters on those above."""
    freeze_layers: Count = 8
    """With `upper` and `lora`: number of lower encoder layers to freeze; they run without gradient."""
    freeze_features: bool = True
    """Freeze the convolutional feature extractor, which then runs without gradient (not from scratch)."""
    lora: Lora = Lora()
    merged: bool = False
    """With `lora`: save one plain model instead of adapters, which need their base model. A registered model whose base
    is a local folder is always merged, since other machines do not have that folder."""
    hidden_size: Positive = 192
    num_layers: Positive = 4
    """Encoder layers."""
    num_heads: Positive = 4
    """Attention heads of a layer."""
    conv_channels: Positive = 96
    """Channels of the seven convolutions."""
    dropout: BelowOne = 0.1
    """Dropout of attention and hidden layers; a base model has its own."""

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        fields = Wav2Vec2Model.model_fields
        changed = {name for name in fields if getattr(self, name) != fields[name].default}
        if not self.pretrained:
            without = changed & {"tune", "head", "freeze_layers"}
            if without:
                raise ValueError(f"model.{min(without)} is for a pretrained base; from scratch everything learns")
        if self.tune in ("full", "head") and "freeze_layers" in changed:
            raise ValueError(f"model.freeze_layers has no effect with tune={self.tune}; it is for upper and lora")
        if self.tune != "full" and "freeze_features" in changed:
            raise ValueError(f"model.freeze_features=false has no effect with tune={self.tune}; it is for tune=full")
        for name in ("lora", "merged"):
            if self.tune != "lora" and name in changed:
                raise ValueError(f"model.{name} has no effect with tune={self.tune}; it is for model.tune=lora")
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if not self.pretrained and self.hidden_size % self.num_heads:
            raise ValueError(f"model.hidden_size={self.hidden_size} is no multiple of num_heads={self.num_heads}")
        return self


class Wav2Vec2Train(Train):
    """The training loop of a recogniser of the wav2vec2 family."""

    lr: AboveZero = 5e-4
    """Peak learning rate; use about 1e-4 or less for full fine-tuning of a large base."""
    weight_decay: NotNegative = 0.01
    grad_clip: NotNegative = 1.0
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""


class Wav2Vec2Experiment(RecognitionExperiment):
    """Train a recogniser of the wav2vec2 family."""

    recipe: Literal["wav2vec2"] = "wav2vec2"
    augment: Wav2Vec2Augment = Wav2Vec2Augment()
    model: Wav2Vec2Model = Wav2Vec2Model()
    train: Wav2Vec2Train = Wav2Vec2Train()

    @property
    def merges(self) -> bool:
        return self.model.merged
