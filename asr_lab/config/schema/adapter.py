"""Configuration of speaker adaptation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from asr_lab.config.schema.base import AboveZero, BelowOne, Count, Experiment, NotNegative, Positive, Section, Share
from asr_lab.config.schema.loop import Loop


class Adapter(Section):
    """A speaker's MLP on the encoder outputs of a frozen base model."""

    name: str
    """Name of the speaker, used for the file and the registry entry: letters, digits, `-`, `_`, Korean syllables."""
    base: str = "models:/deepspeech2@champion"
    """The frozen base model: a registry URI, `runs:/ID/model`, or a folder."""
    form: Literal["residual", "plain"] = "residual"
    """`residual`: the output of the MLP, zero at first, is added to the base's logits. `plain`: the MLP replaces the
    base's output layer, as in files of older systems (compared in experiments/RESULTS.md)."""
    strength: Literal["auto"] | Share = "auto"
    """Scale of a residual adapter's output; 0 is the base. `auto`: the largest scale whose character errors
    are within a standard error of the fewest, when an adapter of one half of the utterances transcribes the other."""
    hidden_dims: tuple[Positive, ...] = Field(default=(512, 256), min_length=1)
    """Width of each hidden layer."""
    dropout: BelowOne = 0.1
    """Dropout after each hidden layer."""
    save_dir: str = "adapters"
    """Folder of the `{name}_adapter.pt` files."""
    frames: Literal["auto", "memory", "disk"] = "auto"
    """Where encoder outputs are cached; `auto`: on disk if they would take more than half of the free memory."""

    @model_validator(mode="after")
    def _scale_needs_residual(self) -> Self:
        if self.form == "plain" and self.strength != "auto":
            raise ValueError("adapter.strength has no effect with adapter.form=plain: a plain adapter has no scale")
        return self


class AdapterData(Section):
    """The speaker's utterances."""

    train: str = ""
    """Manifest to adapt on; empty: the demo corpus' speaker of that name."""
    test: str = ""
    """Test manifest; empty: a share of `train` is held out."""
    test_share: Share = 0.3
    """Share of the utterances held out for testing without `test`."""
    cross_fit: int | str = ""
    """Cross-validation by a field of the utterances (such as `block`) or a number of random folds: train on all folds
    but one and test on that one, in turn. The metrics cover every utterance once; the saved adapter is trained on all.
    """
    learn_from: Count = 0
    """Number of training utterances, drawn at random (from each fold with `cross_fit`); 0: all."""
    each: str = ""
    """A field of the utterances (such as `speaker`): train one adapter per value, and pool their metrics."""
    sizes: tuple[Positive, ...] = ()
    """With `each`: also evaluate adapters trained on fewer utterances, such as 2,5,10."""
    interval_unit: Literal["utterance", "word"] = "utterance"
    """Resampling unit of the confidence interval; `word` if each word is a separate recording."""

    @model_validator(mode="after")
    def _sizes_need_each(self) -> Self:
        if self.sizes and not self.each:
            raise ValueError("data.sizes needs data.each; use data.learn_from for a single adapter")
        return self


class AdapterTrain(Loop):
    """The training loop of an adapter; the learning rate is high because only an MLP is trained."""

    batch_size: Positive = 4
    """Utterances per update; small because a single speaker has little data."""
    imitate_epochs: Count = 3
    """Epochs of distillation from the base before training a plain adapter (no transcripts needed), so that it starts
    at the accuracy of the base; a residual one does so by itself."""
    lr: AboveZero = 2e-3
    weight_decay: NotNegative = 0.0


class AdapterExperiment(Experiment):
    """Adapt a recogniser to one speaker."""

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
            raise ValueError("run.register_as is one name; with data.each, adapters are registered by their own names")
        return self

    def without_traces(self, folder: str) -> Self:
        return self.model_copy(update={"adapter": self.adapter.model_copy(update={"save_dir": folder})})
