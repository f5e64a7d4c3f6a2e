"""Errors put into words: which phonemes of a sentence a learner says as which others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from asr_lab.data.arpabet import VOWELS
from asr_lab.data.synthesis.accents import Accent, Confusion
from asr_lab.data.synthesis.phonemize import Sound, Word
from asr_lab.errors import AsrLabError

MOST = 0.9  # chance at most that a phoneme is said wrong
_STEPS = 40  # of the bisection for the scale


@dataclass(frozen=True)
class Utterance:
    """Words and how each of their phonemes is to be said: `(canonical,)` right, `()` left out, else wrong or more."""

    words: tuple[Word, ...]
    realized: tuple[tuple[str, ...], ...]  # per canonical phoneme, over all words

    def spoken_words(self) -> tuple[Word, ...]:
        """The words as they are said; a vowel that is said for a stressed one is stressed."""
        rest = iter(self.realized)
        return tuple(tuple(one for sound in word for one in _sounds(sound, next(rest))) for word in self.words)


def _sounds(sound: Sound, said: Sequence[str]) -> list[Sound]:
    sounds = [Sound(phoneme) for phoneme in said]
    if sounds and sounds[0].phoneme in VOWELS:
        sounds[0] = Sound(sounds[0].phoneme, sound.stress)
    return sounds


def scale(accent: Accent, texts: Sequence[tuple[Word, ...]], rate: float, of_phonemes: int) -> float:
    """By what the weights are multiplied, for `rate` times `of_phonemes` errors to be expected in the texts.

    Raises `AsrLabError` when there cannot be so many.
    """
    weights = [
        sum(each.weight for each in confusions if each.is_error)
        for words in texts
        for word in words
        for confusions in _chances(accent, word)
    ]
    wanted = rate * of_phonemes
    if MOST * sum(weight > 0 for weight in weights) <= wanted:
        most = MOST * sum(weight > 0 for weight in weights) / max(1, of_phonemes)
        raise AsrLabError(
            f"an error rate of {rate:.0%} cannot be had with the errors of {accent.name} learners",
            allowed=f"less than {most:.0%}: a smaller error scale, or a smaller share of sentences without errors",
        )
    low, high = 0.0, 1e4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        expected = sum(min(MOST, middle * weight) for weight in weights)
        low, high = (middle, high) if expected < wanted else (low, middle)
    return (low + high) / 2


def mispronounce(words: tuple[Word, ...], accent: Accent, factor: float, draw: random.Random) -> Utterance:
    """The words with errors drawn; `factor` multiplies the weights (0: all is said as written)."""
    said: list[tuple[str, ...]] = []
    for word in words:
        for sound, confusions in zip(word, _chances(accent, word), strict=True):
            said.append(_drawn(sound.phoneme, confusions, factor, draw.random()))
    return Utterance(words, tuple(said))


def _chances(accent: Accent, word: Word) -> list[list[Confusion]]:
    phonemes = [sound.phoneme for sound in word]
    return [list(accent.of(phonemes, index)) for index in range(len(word))]


def _drawn(phoneme: str, confusions: Sequence[Confusion], factor: float, chance: float) -> tuple[str, ...]:
    """What is said of a phoneme, by a number from 0 to 1: errors come first, then what is only put in."""
    errors = [each for each in confusions if each.is_error]
    additions = [each for each in confusions if not each.is_error]
    total = factor * sum(each.weight for each in errors)
    shrunk = factor * min(1.0, MOST / total) if total else factor
    reached = 0.0
    for each in [*errors, *additions]:
        reached += (shrunk if each.is_error else factor) * each.weight
        if chance < reached:
            return each.realized
    return (phoneme,)
