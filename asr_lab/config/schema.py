"""Every setting of every experiment: typed, frozen, explained underneath, unknown keys refused.

Variants are YAML files under `experiments/` that hold only what differs from the defaults here.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A frozen group of settings; the docstring under a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Run(Section):
    """How the run is called and kept."""

    name: str = ""
    """First part of the run's name in MLflow; empty: the model's name."""
    seed: int = 0
    """Seed of weights, data order and augmentation."""
    register_as: str = ""
    """Name in the model registry under which the best model becomes a version; empty: not registered."""
    threads: int = 0
    """CPU threads of PyTorch; 0: as many as there are cores."""
    license: str = ""
    """Licence of the model for its card, such as `apache-2.0`; empty: that of its base, where it says so."""
    intended_use: str = ""
    """What the model is meant for, for its card."""


class Text(Section):
    """The text normaliser, applied alike to transcripts for training and to references for scoring."""

    unicode: Literal["NFC", "NFKC"] = "NFC"
    """Unicode normal form; NFC keeps Korean syllables whole."""
    lowercase: bool = True
    """Fold the case (Unicode case folding is not used: `lower()`)."""
    strip_punctuation: bool = True
    """Drop punctuation and symbols, but for the apostrophe inside a word."""
    transcription: Literal["plain", "spelling", "phonetic"] = "plain"
    """KsponSpeech's `(70%)/(칠십 퍼센트)`: which of the two is meant; its noise marks (`b/ l/ n/ o/ u/ + *`) go.
    `plain`: transcripts are as they are."""
    numbers: Literal["keep", "korean"] = "keep"
    """`korean`: digits are read out as Korean words, `3개` as 세 개, `3층` as 삼 층; `keep`: they stay."""
    units: Literal["characters", "jamo"] = "characters"
    """What a class stands for: a character (a Korean syllable is one), or a jamo of a syllable. Error rates are those
    of composed text either way."""


class Data(Section):
    """Which utterances are learned from, chosen on and tested on. Manifests are Lhotse cuts, `*.jsonl.gz`."""

    train: str = Field(default="corpora/demo/train.jsonl.gz", min_length=1)
    """Manifest to learn from."""
    val: str = Field(default="corpora/demo/val.jsonl.gz", min_length=1)
    """Manifest on which the best epoch is chosen; never the test data."""
    test: str = "corpora/demo/test.jsonl.gz"
    """Manifest of the final figures; empty: no test."""
    text: Text = Text()
    max_duration_s: float = Field(default=20.0, gt=0)
    """Longer utterances (seconds) are left out of training, counted and named."""
    phonemes: bool = False
    """Score the best epoch in phonemes too (`val/per`, `test/per`), by eSpeak NG and the utterances' language."""


class Augment(Section):
    """What is done to training audio, seeded by (seed, epoch, utterance), so a resumed run repeats it."""

    speed_factors: tuple[Annotated[float, Field(gt=0.5, lt=2)], ...] = (1.0,)
    """Speed perturbation: one of these factors for each utterance (Ko et al. 2015 use 0.9, 1.0, 1.1)."""
    noise_snr_db: tuple[float, ...] = Field(default=(), max_length=2)
    """Background noise at a signal-to-noise ratio drawn between these (dB), such as 5,20; empty: no noise."""
    noise: str = "pink"
    """`pink`, `white`, or a manifest of recordings of which pieces are cut (they need no transcript)."""
    noise_share: Share = 0.5
    """Share of the utterances that get noise, drawn anew each epoch."""
    time_masks: int = Field(default=2, ge=0)
    """SpecAugment (Park et al. 2019): number of time masks."""
    time_mask_share: Share = 0.05
    """Widest time mask as a share of the utterance (KoSpeech: T/20)."""
    freq_masks: int = Field(default=2, ge=0)
    """SpecAugment: number of frequency masks."""
    freq_mask_bins: int = Field(default=18, ge=0, le=80)
    """Widest frequency mask in mel bins (KoSpeech: 18)."""

    @property
    def noise_manifest(self) -> str:
        """The manifest that noise is cut from; empty where noise is made, or there is none."""
        return self.noise if self.noise_snr_db and self.noise not in ("pink", "white") else ""

    @field_validator("noise_snr_db")
    @classmethod
    def _a_range(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value and value[0] > value[-1]:
            raise ValueError("the lower bound comes first")
        return value


class DeepSpeech2Model(Section):
    """DeepSpeech2 (Amodei et al. 2016) as in KoSpeech; the small size here is the demo's."""

    pretrained: str = ""
    """Fine-tune: the model whose weights, vocabulary and text normaliser training starts from (a folder,
    `models:/NAME@alias`, `runs:/ID/model`); its sizes are taken over. Empty: from scratch."""
    extend_vocabulary: bool = False
    """With `pretrained`: give characters that it does not know classes of their own."""
    rnn_type: Literal["gru", "lstm", "rnn"] = "gru"
    hidden_size: Positive = 256
    """Units of each direction."""
    num_layers: Positive = 2
    bidirectional: bool = True
    conv_channels: Positive = 16
    """Channels of both convolutions; KoSpeech has 32, which doubles the cost on CPU at this size."""
    head: Literal["layer_norm", "kospeech_layer_norm", "mlp"] = "layer_norm"
    """The output layer as in KoSpeech's later commits, of February 2021, or v1 (imported models have their own)."""


class Loop(Section):
    """A training loop."""

    epochs: Positive = 10
    batch_size: Positive = 16
    """Utterances per update and device, of like duration."""
    accumulate: Positive = 1
    """Batches per update."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    schedule: Literal["tri_stage", "constant", "linear", "cosine", "inverse_sqrt"] = "tri_stage"
    """Tri-stage (Park et al. 2019): linear warm-up, hold, exponential decay to `final_lr_scale` x peak. Linear, cosine
    and inverse square root (Vaswani et al. 2017) warm up too, then fall; constant is the peak from the first update."""
    warmup_share: Share = 0.1
    """Share of all updates spent warming up; no effect on `constant`."""
    hold_share: Share = 0.4
    """Share of all updates spent at the peak; `tri_stage` alone."""
    final_lr_scale: float = Field(default=0.05, gt=0, le=1)
    """Where the decay of `tri_stage` ends, as a share of the peak."""
    weight_decay: float = Field(default=1e-5, ge=0)
    grad_clip: float = Field(default=5.0, gt=0)
    """Largest gradient norm."""
    num_workers: int = Field(default=0, ge=0)
    """Processes that read audio beside."""
    mixed_precision: Literal["auto", "no"] = "auto"
    """`auto`: bfloat16 (or float16) where there is a GPU that can, never on CPU."""


class Train(Loop):
    """The training loop of a recogniser."""

    patience: int = Field(default=0, ge=0)
    """Epochs without a better validation WER after which training stops; 0: never early."""
    min_delta: Share = 0.0
    """How much lower (0.01 is one point) the WER must be to count as better for `patience`; small steps add up."""
    save_every: int = Field(default=0, ge=0)
    """Updates between checkpoints, besides the one at each epoch's end; 0: that one alone. For long epochs."""


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


class DeepSpeech2Experiment(Section):
    """Train a DeepSpeech2 recogniser."""

    recipe: Literal["deepspeech2"] = "deepspeech2"
    run: Run = Run()
    data: Data = Data()
    augment: Augment = Augment()
    model: DeepSpeech2Model = DeepSpeech2Model()
    train: Train = Train()


class AdapterExperiment(Section):
    """Adapt a recogniser to one person."""

    recipe: Literal["adapter"] = "adapter"
    run: Run = Run()
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


class Evaluation(Section):
    """What is scored, and how."""

    model: str
    """The recogniser: a registry URI, `runs:/ID/model`, or a folder."""
    data: str
    """Manifest to score on."""
    adapter: str = ""
    """A person's adapter: its name, its file or its registry URI; empty: the base alone."""
    adapter_dir: str = "adapters"
    """Folder of the `{name}_adapter.pt` files."""
    split: str = "test"
    """Name of the data in metrics and artifacts (`test/wer`, `eval/test.parquet`)."""
    batch_size: Positive = 16
    audio: bool = False
    """Put the audio into the page, to listen to; only where asked, for it is people's voices."""
    phonemes: bool = False
    """Score in phonemes too (`test/per`), by eSpeak NG and the utterances' language."""


class EvaluateExperiment(Section):
    """Score a recogniser on a manifest."""

    recipe: Literal["evaluate"] = "evaluate"
    run: Run = Run()
    evaluate: Evaluation


Experiment = DeepSpeech2Experiment | AdapterExperiment | EvaluateExperiment

RECIPES: dict[str, type[DeepSpeech2Experiment] | type[AdapterExperiment] | type[EvaluateExperiment]] = {
    "deepspeech2": DeepSpeech2Experiment,
    "adapter": AdapterExperiment,
    "evaluate": EvaluateExperiment,
}

ALIASES: dict[str, str] = {
    "adapter_hidden_dims": "adapter.hidden_dims",
    "adapter_name": "adapter.name",
    "adapter_save_dir": "adapter.save_dir",
    "base_model_path": "adapter.base",
    "batch_size": "train.batch_size",
    "epochs": "train.epochs",
    "experiment_name": "run.name",
    "hidden_dims": "adapter.hidden_dims",
    "main_lr": "train.lr",
    "num_epochs": "train.epochs",
    "num_workers": "train.num_workers",
    "pretrained_model_path": "model.pretrained",
    "seed": "run.seed",
    "transcripts_path": "data.train",
}
"""Option names of the older systems and the config keys they stand for."""
