"""Configuration of a comparison of fine-tuning methods: methods that differ in a few keys, trained and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from asr_lab.config.dotted import leaves
from asr_lab.config.schema.augment import Wav2Vec2Augment
from asr_lab.config.schema.base import Data, Experiment, Positive, Section
from asr_lab.config.schema.wav2vec2 import Wav2Vec2Model, Wav2Vec2Train
from asr_lab.errors import AsrLabError, listing

UNTOUCHED = "untouched"


_OF_ALL = ("data.test", "run.register_as")
"""Keys that all methods share."""


class Comparison(Section):
    """Measurement of inference speed after training: each method alternates with the first one, in one process."""

    utterances: Positive = 16
    """Number of test utterances, of all durations, that are transcribed repeatedly."""
    batch_size: Positive = 8
    rounds: Positive = 7
    """Number of repetitions; the median is reported."""


class ArmsExperiment(Experiment):
    """Train and compare fine-tuning methods; each is a wav2vec2 experiment with these sections and its own keys."""

    recipe: Literal["arms"] = "arms"
    data: Data = Data()
    augment: Wav2Vec2Augment = Wav2Vec2Augment()
    model: Wav2Vec2Model = Wav2Vec2Model()
    train: Wav2Vec2Train = Wav2Vec2Train()
    arms: dict[str, Any] = Field(min_length=2)
    """Name -> keys in which the method differs (`r32: {model.lora.r: 32}`), or `untouched`: `model.pretrained` without
    training. The others are compared with the first one."""
    compare: Comparison = Comparison()

    @field_validator("arms")
    @classmethod
    def _keys_or_untouched(cls, arms: dict[str, Any]) -> dict[str, Any]:
        for name, own in arms.items():
            if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,29}", name):
                raise ValueError(f"{name!r} is not a name for a method; letters, digits, - and _ are allowed")
            if own != UNTOUCHED and not isinstance(own, Mapping):
                raise ValueError(f"arms.{name}={own!r} is neither a section of wav2vec2 keys nor {UNTOUCHED!r}")
        return arms

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if not self.data.test:
            raise ValueError("data.test: methods are compared on test data; name a manifest")
        if self.run.register_as:
            raise ValueError("run.register_as has no effect on a comparison; use asr-lab register RUN afterwards")
        if own := [f"arms.{name}.{key}" for name, keys in self.arms.items() for key in _of_all(keys)]:
            raise ValueError(
                f"{listing(own)}: all methods share data.test, and none is registered by the comparison; leave these "
                "keys out (asr-lab register RUN registers the one you choose)"
            )
        if UNTOUCHED in self.arms.values() and not self.model.pretrained:
            raise ValueError(f"model.pretrained: a method is the {UNTOUCHED} base, so name one")
        return self

    def part_manifests(self) -> dict[str, str]:
        """Return key -> manifest of the methods' own data; raises `AsrLabError` without manifests that all share."""
        parts = {
            f"arms.{name}.{key}": str(value)
            for name, own in self.arms.items()
            if isinstance(own, Mapping)
            for key, value in leaves(own)
            if key in ("data.train", "data.val")
        }
        if parts and "train" not in self.data.model_fields_set:
            absent = [f"data.{split}" for split in ("train", "val", "test") if split not in self.data.model_fields_set]
            raise AsrLabError(
                f"{listing(parts, 3)} is given, but not what all methods share: {listing(absent)}",
                allowed=f"{' '.join(f'{key}=MANIFEST' for key in absent)}; the demo's are used only where no data are "
                "given",
            )
        return parts


def _of_all(keys: Mapping[str, Any] | str) -> list[str]:
    """Return the keys of a method that all methods have to share."""
    return [key for key, _ in leaves(keys) if key in _OF_ALL] if isinstance(keys, Mapping) else []
