"""Configuration of an n-gram language model."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from asr_lab.config.schema.base import Experiment, Section, Text


class LanguageModel(Section):
    """Text, order and units of the model."""

    texts: tuple[str, ...] = Field(min_length=1)
    """Its text: files with one sentence per line, and manifests."""
    out: str
    """The ARPA file to write, `NAME.arpa`."""
    order: Annotated[int, Field(ge=2, le=6)] = 3
    """Words of the longest n-grams."""
    units: Literal["words", "characters", "jamo"] = "words"
    """What it predicts: words, or characters (a Korean syllable is one) or jamo with `|` between words, for recognisers
    of these units."""
    tests: tuple[str, ...] = ()
    """Text files and manifests on which its perplexity is computed."""

    @field_validator("out")
    @classmethod
    def _is_arpa(cls, path: str) -> str:
        if PurePath(path).suffix != ".arpa" or not PurePath(path).stem:
            raise ValueError("the file of a language model should end in .arpa")
        return path


class LanguageModelExperiment(Experiment):
    """Train an n-gram language model."""

    recipe: Literal["lm"] = "lm"
    lm: LanguageModel
    text: Text = Text()

    def without_traces(self, folder: str) -> Self:
        out = str(PurePath(folder) / PurePath(self.lm.out).name)
        return self.model_copy(update={"lm": self.lm.model_copy(update={"out": out})})
