"""Draw the mispronunciations of a sentence from the confusions of an accent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from asr_lab.data.arpabet import VOWELS
from asr_lab.data.synthesis.accents import Accent, Confusion
from asr_lab.data.synthesis.phonemize import Sound, Word
from asr_lab.errors import AsrLabError

MOST = 0.9  # largest probability of an error per phoneme
_STEPS = 40  # of the bisection for the scale


@dataclass(frozen=True)
class Utterance:
    """Words with the realisation of each phoneme: `(canonical,)` correct, `()` deleted, else an error or insertion."""

    words: tuple[Word, ...]
    realized: tuple[tuple[str, ...], ...]  # per canonical phoneme, over all words

    def spoken_words(self) -> tuple[Word, ...]:
        """Return the words as realised; a vowel that replaces a stressed one is stressed."""
        rest = iter(self.realized)
        return tuple(tuple(one for sound in word for one in _sounds(sound, next(rest))) for word in self.words)


def _sounds(sound: Sound, realized: Sequence[str]) -> list[Sound]:
    sounds = [Sound(phoneme) for phoneme in realized]
    if sounds and sounds[0].phoneme in VOWELS:
        sounds[0] = Sound(sounds[0].phoneme, sound.stress)
    return sounds


def scale(accent: Accent, texts: Sequence[tuple[Word, ...]], rate: float, of_phonemes: int) -> float:
    """Return the factor of the weights for which `rate * of_phonemes` errors are expected in the texts.

    Raises `AsrLabError` if no factor reaches the rate.
    """
    weights = [
        sum(one.weight for one in confusions if one.is_error)
        for words in texts
        for word in words
        for confusions in _chances(accent, word)
    ]
    wanted = rate * of_phonemes
    if MOST * sum(weight > 0 for weight in weights) <= wanted:
        most = MOST * sum(weight > 0 for weight in weights) / max(1, of_phonemes)
        raise AsrLabError(
            f"the errors of {accent.name} learners cannot reach an error rate of {rate:.0%}",
            allowed=f"less than {most:.0%}: a smaller error scale, or a smaller share of sentences without errors",
        )
    low, high = 0.0, 1e4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        expected = sum(min(MOST, middle * weight) for weight in weights)
        low, high = (middle, high) if expected < wanted else (low, middle)
    return (low + high) / 2


def mispronounce(words: tuple[Word, ...], accent: Accent, factor: float, draw: random.Random) -> Utterance:
    """Draw errors for the words; `factor` scales the weights (0: no errors)."""
    realized: list[tuple[str, ...]] = []
    for word in words:
        for sound, confusions in zip(word, _chances(accent, word), strict=True):
            realized.append(_drawn(sound.phoneme, confusions, factor, draw.random()))
    return Utterance(words, tuple(realized))


def _chances(accent: Accent, word: Word) -> list[list[Confusion]]:
    phonemes = [sound.phoneme for sound in word]
    return [list(accent.of(phonemes, index)) for index in range(len(word))]


def _drawn(phoneme: str, confusions: Sequence[Confusion], factor: float, chance: float) -> tuple[str, ...]:
    """Return the realisation of a phoneme for a random number in [0, 1): errors first, then insertions."""
    errors = [one for one in confusions if one.is_error]
    additions = [one for one in confusions if not one.is_error]
    total = factor * sum(one.weight for one in errors)
    shrunk = factor * min(1.0, MOST / total) if total else factor
    reached = 0.0
    for one in [*errors, *additions]:
        reached += (shrunk if one.is_error else factor) * one.weight
        if chance < reached:
            return one.realized
    return (phoneme,)
