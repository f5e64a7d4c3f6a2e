"""What every experiment has: sections, the run, the text and the data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from asr_lab.config.names import registered_name


class Section(BaseModel):
    """A frozen group of settings; the docstring under a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


SPLITS = ("train", "val", "test", "test_hard")

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SomeShare = Annotated[float, Field(gt=0, le=1)]


class Run(Section):
    """How the run is called and kept."""

    name: str = ""
    """First part of the run's name in MLflow; empty: the model's name."""
    seed: int = 0
    """Seed of weights, data order and augmentation."""
    register_as: str = ""
    """Name in the model registry under which the best model becomes a version; empty: not registered."""
    threads: int = 0
    """CPU threads of PyTorch; 0: one for each core that is free when the run begins, or OMP_NUM_THREADS."""
    license: str = ""
    """Licence of the model for its card, such as `apache-2.0`; empty: that of its base, where it says so."""
    intended_use: str = ""
    """What the model is meant for, for its card."""

    @field_validator("register_as")
    @classmethod
    def _can_be_registered(cls, name: str) -> str:
        return registered_name(name) if name else name


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
    `plain`: transcripts are as they are, but for AI-Hub's tags: `(FP:어)` is 어 in all three."""
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
    """Score in phonemes too (`val/per` of each epoch, `test/per`), by eSpeak NG and the utterances' language."""


class Experiment(Section):
    """What is run once: the first two fields of every family's configuration."""

    recipe: str
    """The family (`asr_lab.families`)."""
    run: Run = Run()

    def manifests(self) -> dict[str, str]:
        """Split -> manifest, of those that are named."""
        data = getattr(self, "data", None)
        named = {split: str(getattr(data, split, "")) for split in SPLITS}
        noise = getattr(getattr(self, "augment", None), "noise_manifest", "")
        return {split: path for split, path in {**named, "noise": noise}.items() if path}

    def without_traces(self, folder: str) -> Self:
        """The same, with what it would write outside its run written into `folder`."""
        return self


class RecognitionModel(Section):
    """The first field of every recogniser's network."""

    pretrained: str = ""
    """The model that training starts from; empty: from scratch."""
