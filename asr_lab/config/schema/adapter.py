"""Adapting a recogniser to one person."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from asr_lab.config.schema.base import Experiment, Positive, Section, Share
from asr_lab.config.schema.loop import Loop


class Adapter(Section):
    """One person's MLP on the frozen base's RNN output."""

    name: str
    """Whose adapter it is: letters, digits, `-`, `_` and Korean syllables; it names file and registry entry."""
    base: str = "models:/deepspeech2@champion"
    """The frozen base: a registry URI, `runs:/ID/model`, or a folder."""
    form: Literal["residual", "plain"] = "residual"
    """`residual`: what the MLP says is added to the base's own logits, and starts at nothing. `plain`: the MLP stands
    in the place of the base's output layer, as in the files of older systems (compared in experiments/RESULTS.md)."""
    strength: Literal["auto"] | Share = "auto"
    """The share of what a residual adapter has learned that it adds; 0 is the base. `auto`: the one with the fewest
    character errors when an adapter that learned from half of the utterances hears the other half."""
    hidden_dims: tuple[Positive, ...] = Field(default=(512, 256), min_length=1)
    """Width of each hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    save_dir: str = "adapters"
    """Folder of the `{name}_adapter.pt` files."""
    frames: Literal["auto", "memory", "disk"] = "auto"
    """Where the base's frames are kept; `auto`: on disk when they would take more than half of the free memory."""

    @model_validator(mode="after")
    def _strength_of_what(self) -> Self:
        if self.form == "plain" and self.strength != "auto":
            raise ValueError("adapter.strength is that of a residual adapter; a plain one has none")
        return self


class AdapterData(Section):
    """One person's utterances."""

    train: str = ""
    """Manifest to adapt on; empty: the demo corpus' speaker of that name."""
    test: str = ""
    """Manifest held out for the figures; empty: a share of `train` is held out."""
    test_share: Share = 0.3
    """Share of the utterances held out when there is no `test`."""
    cross_fit: int | str = ""
    """A field of the utterances (such as `block`), or a number of folds to draw: adapt on all folds but one and test
    on that one, for each in turn; the figures then cover every utterance once, and the adapter kept learns from all."""
    learn_from: int = Field(default=0, ge=0)
    """Learn from so many utterances, drawn by the seed (of each fold, when cross-fitting); 0: from all there are."""
    each: str = ""
    """A field of the utterances (such as `speaker`): an adapter for each of its values, and figures of them pooled."""
    sizes: tuple[Positive, ...] = ()
    """With `each`: measure also adapters that learned from so many utterances, such as 2,5,10."""
    interval_unit: Literal["utterance", "word"] = "utterance"
    """What is resampled for the interval of the difference; `word` where each word is a recording of its own."""

    @model_validator(mode="after")
    def _sizes_of_whom(self) -> Self:
        if self.sizes and not self.each:
            raise ValueError("data.sizes is for data.each; data.learn_from is for one person")
        return self


class AdapterTrain(Loop):
    """The training loop of an adapter; the learning rate is high because only an MLP learns."""

    batch_size: Positive = 4
    """Small, for one person has little data: an update for every four utterances."""
    imitate_epochs: int = Field(default=3, ge=0)
    """Epochs in which a plain adapter first learns what its base says (distillation; no transcripts are needed), so
    that it starts no worse; a residual one starts there by itself."""
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class AdapterExperiment(Experiment):
    """Adapt a recogniser to one person."""

    recipe: Literal["adapter"] = "adapter"
    adapter: Adapter
    data: AdapterData = AdapterData()
    train: AdapterTrain = AdapterTrain()

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        usual = AdapterTrain.model_fields["imitate_epochs"].default
        if self.adapter.form == "residual" and self.train.imitate_epochs != usual:
            raise ValueError("train.imitate_epochs is for adapter.form=plain; a residual adapter starts at its base")
        if self.data.each and self.run.register_as:
            raise ValueError("run.register_as is one name; with data.each each adapter is registered under its own")
        return self

    def without_traces(self, folder: str) -> Self:
        return self.model_copy(update={"adapter": self.adapter.model_copy(update={"save_dir": folder})})
