"""Configuration of decoding: greedy, or a beam search with a language model."""

from __future__ import annotations

from typing import Self

from pydantic import field_validator, model_validator

from asr_lab.config.schema.base import AboveZero, NotNegative, Positive, Section


class Decode(Section):
    """How text is read off the network's output; without a language model and hot words: greedily."""

    lm: str = ""
    """Language model: an ARPA file (`asr-lab lm`), or a registry URI or registered name of one; empty: none. Without
    weights, a registered one is used with those that `evaluate --tune` registered for the recogniser."""
    beam: Positive = 50
    """Hypotheses kept after each frame."""
    lm_weight: NotNegative = 1.0
    """Factor of the language model's log10 probabilities (torchaudio's `lm_weight`); 0: its lexicon alone."""
    word_score: float = -1.0
    """Added for each word (torchaudio's `word_score`): lower for fewer, longer words. Of no effect on a language model
    of units."""
    unknown_score: float = -6.0
    """Added for each word outside the lexicon, besides the model's `<unk>`: lower for fewer such words."""
    hot_words: tuple[str, ...] = ()
    """Words and phrases to be expected, such as names, separated by commas."""
    hot_word_score: AboveZero = 4.0
    """Added for each hot word, up to a probability of 1: higher for more of them, also of wrong ones."""
    calibration: tuple[float, ...] = ()
    """Slope and intercept that make the confidence of words a probability, as `evaluate.confidence=true` fits them on
    validation data; empty: not calibrated."""

    @field_validator("calibration")
    @classmethod
    def _is_a_pair(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) not in (0, 2):
            raise ValueError("calibration should be two numbers, slope and intercept")
        return values

    @field_validator("hot_words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("a hot word should not be empty")
        return words

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        fields = type(self).model_fields
        changed = [name for name in fields if getattr(self, name) != fields[name].default]
        idle = [name for name in changed if name not in ("lm", "hot_words", "calibration")]
        if idle and not self.is_beam:
            raise ValueError(f"decode.{idle[0]} has no effect without decode.lm or decode.hot_words")
        weights = [name for name in ("lm_weight", "word_score", "unknown_score") if name in idle]
        if weights and not self.lm:
            raise ValueError(f"decode.{weights[0]} has no effect without decode.lm")
        if "hot_word_score" in changed and not self.hot_words:
            raise ValueError("decode.hot_word_score has no effect without decode.hot_words")
        return self

    @property
    def is_beam(self) -> bool:
        """Whether this is a beam search; greedy if not."""
        return bool(self.lm or self.hot_words)
