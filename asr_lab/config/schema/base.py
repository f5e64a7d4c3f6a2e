"""Configuration sections that all experiments share: run, text and data."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from asr_lab.config.names import registered_name

_TOO_MANY = 2**32  # of anything; libraries count in 32 or 64 bits


class Section(BaseModel):
    """A frozen group of settings; the docstring under a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans_as_numbers(cls, given: Any) -> Any:
        """Make pydantic refuse `yes` and `true` for a number, which it would read as 1."""
        if not isinstance(given, dict):
            return given
        numbers = {name for name, field in cls.model_fields.items() if field.annotation in (int, float)}
        return {
            name: str(value).lower() if isinstance(value, bool) and name in numbers else value
            for name, value in given.items()
        }

    @field_validator("*")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        """Refuse -0.0, integers beyond 32 bits and undecodable text, which stores change or reject."""
        if isinstance(value, float) and value == 0 and math.copysign(1, value) < 0:
            raise ValueError("input should be 0")
        if isinstance(value, int) and abs(value) >= _TOO_MANY:
            raise ValueError(f"input should be below {_TOO_MANY}")
        if isinstance(value, str) and not value.isprintable() and value != value.encode(errors="ignore").decode():
            raise ValueError("input should be a text in UTF-8")
        return value


SPLITS = ("train", "val", "test", "test_hard")

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SomeShare = Annotated[float, Field(gt=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


class Run(Section):
    """Name, seed and registration of the run."""

    name: str = Field(default="", max_length=200)
    """First part of the run's name in MLflow; empty: the model's name."""
    seed: Count = 0
    """Seed of weights, data order and augmentation."""
    register_as: str = ""
    """Name in the model registry under which the best model becomes a version; empty: not registered."""
    threads: int = Field(default=0, ge=0, le=4096)
    """CPU threads of PyTorch; 0: OMP_NUM_THREADS, or the number of idle cores when the run starts."""
    license: str = ""
    """Licence for the model card, such as `apache-2.0`; empty: that of the base model, if known."""
    intended_use: str = ""
    """Intended use, for the model card."""

    @field_validator("register_as")
    @classmethod
    def _can_be_registered(cls, name: str) -> str:
        return registered_name(name) if name else name


class Text(Section):
    """The text normaliser, applied to training transcripts and to references for scoring."""

    unicode: Literal["NFC", "NFKC"] = "NFC"
    """Unicode normal form; NFC keeps Korean syllables composed."""
    lowercase: bool = True
    """Convert to lower case (`str.lower`, not Unicode case folding)."""
    strip_punctuation: bool = True
    """Remove punctuation and symbols, except apostrophes inside words."""
    transcription: Literal["plain", "spelling", "phonetic"] = "plain"
    """Which variant of KsponSpeech's `(70%)/(칠십 퍼센트)` to use. `plain`: neither, for transcripts with one reading;
    others are refused. Marks of Korean corpora (`b/`, `{laughing}`, `#@이름#`) are removed in all three, and `(FP:어)`
    becomes 어."""
    numbers: Literal["keep", "korean"] = "keep"
    """`korean`: write digits as Korean words, `3개` as 세 개, `3층` as 삼 층; `keep`: leave them unchanged."""
    units: Literal["characters", "jamo", "bpe"] = "characters"
    """Output units: characters (a Korean syllable is one), jamo, or subwords by byte-pair encoding (`vocab_size`) of
    the training transcripts. Error rates are computed on composed text and whole words in any case."""
    vocab_size: int = Field(default=2000, ge=4)
    """With `units=bpe`: number of classes, with blank and `<unk>`; more than the characters of the transcripts."""

    @model_validator(mode="after")
    def _size_needs_subwords(self) -> Self:
        if self.units != "bpe" and self.vocab_size != Text.model_fields["vocab_size"].default:
            raise ValueError(
                f"data.text.vocab_size has no effect with units={self.units}: it is for data.text.units=bpe"
            )
        return self


class Data(Section):
    """Training, validation and test data. Manifests are Lhotse cuts, `*.jsonl.gz`.

    The defaults are the demo corpus and hold together: with one split given, the others are those beside it.
    """

    train: str = Field(default="corpora/demo/train.jsonl.gz", min_length=1)
    """Training manifest."""
    val: str = Field(default="corpora/demo/val.jsonl.gz", min_length=1)
    """Validation manifest, used to choose the best epoch; not the test data."""
    test: str = "corpora/demo/test.jsonl.gz"
    """Test manifest; empty: no test."""
    text: Text = Text()
    max_duration_s: AboveZero = 20.0
    """Longer utterances (seconds) are excluded from training and reported."""
    phonemes: bool = False
    """Also compute phoneme error rates (`val/per` per epoch, `test/per`) with eSpeak NG, by language."""


class Experiment(Section):
    """Fields that the configurations of all families share."""

    recipe: str
    """The family (`asr_lab.families`)."""
    run: Run = Run()

    def manifests(self) -> dict[str, str]:
        """Return the manifest of each split that is set."""
        data = getattr(self, "data", None)
        named = {split: str(getattr(data, split, "")) for split in SPLITS}
        noise = getattr(getattr(self, "augment", None), "noise_manifest", "")
        return {split: path for split, path in {**named, "noise": noise}.items() if path}

    def part_manifests(self) -> dict[str, str]:
        """Return key -> manifest of the data of parts, such as phases, that have their own."""
        return {}

    def split_of(self, key: str) -> str:
        """Return the split that the manifest of a part is."""
        return key.rpartition(".")[2]

    def without_traces(self, folder: str) -> Self:
        """Return a copy that writes all files outside the run into `folder`."""
        return self


class RecognitionModel(Section):
    """Fields that the networks of all recognisers share."""

    pretrained: str = ""
    """Model to fine-tune; empty: train from scratch."""
