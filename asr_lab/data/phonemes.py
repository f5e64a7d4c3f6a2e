"""Convert reference and hypothesis to phonemes by eSpeak NG, for the phoneme error rate.

Phonemes are eSpeak's, without stress marks and pauses. Homophones (`two` and `too`) have no errors between them. In
Korean eSpeak NG applies liaison and coda simplification (같이, 닭이, 값이), but not nasalisation: 국물 and 궁물 differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.synthesis import espeak
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

VOICES = {"en": "en-us", "ko": "ko"}
"""Language of an utterance -> the eSpeak voice that reads it."""

_STRESS = {ord(sign): None for sign in "',%="}
_ONE_SOUND = {
    "g": "k", "q": "k", "q-": "k-", "d": "t", "d-": "t", "b": "p", "tS;": "tS", "dZ;": "tS", "tS;-": "tS-",
    "L": "l", "*": "l",
}  # fmt: skip
"""eSpeak's allophones of Korean phonemes -> one symbol (`g` and `q` of 가 are both `k`); `-` marks a tense consonant,
`h` an aspirated one."""
_KOREAN_VOWELS = ("a", "E", "e", "@", "o", "u", "u-", "i", "j", "w")


def phonemes(text: str, language: str) -> list[str]:
    """Return the phonemes of a normalised text in a language (`en`, `ko`, `ko-KR`).

    Raises `AsrLabError` for another language, and if eSpeak NG is not installed.
    """
    return list(_phonemes(text, _check_language(language)))


def check_languages(cuts: Iterable[Cut], where: str = "") -> None:
    """Raise `AsrLabError` unless every utterance has a language with phonemes."""
    espeak.require("phonemes are computed")
    unfit = [cut.id for cut in cuts if _base_language(manifest.supervision(cut).language or "") not in VOICES]
    if unfit:
        raise AsrLabError(
            f"{counted(len(unfit), 'utterance', 'have')} no supported language for phonemes: {listing(unfit, 5)}",
            where=where,
            allowed=f"the languages {', '.join(VOICES)} in the manifest, or no phonemes (data.phonemes=false)",
        )


@lru_cache(maxsize=100_000)
def _phonemes(text: str, language: str) -> tuple[str, ...]:
    espeak.require("phonemes are computed")
    voice = espeak.Voice(name=language, voice=VOICES[language])
    words = espeak.Engine().phonemes(text, voice).split(" ")
    return tuple(mark for word in words for mark in _marks(word, language))


def _marks(word: str, language: str) -> list[str]:
    """Return the phonemes of a word in eSpeak's notation (`k|w|'I|k`), without stress, pauses and language switches."""
    marks = [mark.translate(_STRESS) for mark in word.split("|")]
    phonemes_only = [mark for mark in marks if mark and mark[0] not in "_(" and mark not in ("-", ";", "!")]
    return _korean(phonemes_only) if language == "ko" else phonemes_only


def _korean(marks: list[str]) -> list[str]:
    """Merge allophones: a stop followed by `h` is aspirated, and codas are never tense."""
    merged: list[str] = []
    for index, mark in enumerate(marks):
        mark = _ONE_SOUND.get(mark, mark)
        if mark == "h" and merged and merged[-1] in ("k", "t", "p", "tS"):
            merged[-1] += mark
        elif mark.endswith("-") and mark != "u-" and marks[index + 1 : index + 2] not in [[v] for v in _KOREAN_VOWELS]:
            merged.append(mark[:-1])
        else:
            merged.append(mark)
    return merged


def _base_language(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()


def _check_language(language: str) -> str:
    if _base_language(language) not in VOICES:
        raise AsrLabError(f"no phonemes for language {language!r}", allowed=", ".join(VOICES))
    return _base_language(language)
