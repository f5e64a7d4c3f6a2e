"""Phonemes of a text by eSpeak NG, for the phoneme error rate: reference and hypothesis are both made into them.

They are eSpeak's mnemonics without stress marks and pauses. Two texts that eSpeak says alike have no errors between
them (`two` and `too`); what it does not know of a language it does not know on both sides. In Korean it knows liaison
and the simplification of codas (같이, 닭이, 값이), but not nasalisation: 국물 and 궁물 differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.synthesis import espeak
from asr_lab.errors import AsrLabError, listing

VOICES = {"en": "en-us", "ko": "ko"}
"""Language of an utterance -> the eSpeak voice that reads it."""

_STRESS = {ord(sign): None for sign in "',%="}
_ONE_SOUND = {
    "g": "k", "q": "k", "q-": "k-", "d": "t", "d-": "t", "b": "p", "tS;": "tS", "dZ;": "tS", "tS;-": "tS-",
    "L": "l", "*": "l",
}  # fmt: skip
"""eSpeak's Korean has several marks for a phoneme, by its place in a word (`g` and `q` for the one of 가); here it is
one. `-` marks a tense consonant, `h` an aspirated one."""
_KOREAN_VOWELS = ("a", "E", "e", "@", "o", "u", "u-", "i", "j", "w")


def phonemes(text: str, language: str) -> list[str]:
    """The phonemes of a normalised text in a language (`en`, `ko`; `ko-KR` is Korean); none for an empty one.

    Raises `AsrLabError` for another language, and where eSpeak NG is not installed.
    """
    return list(_phonemes(text, _known(language)))


def check_languages(cuts: Iterable[Cut], where: str = "") -> None:
    """Raise `AsrLabError` unless phonemes can be made of every utterance: eSpeak NG knows its language."""
    espeak.require("phonemes are told")
    unfit = [cut.id for cut in cuts if _short(manifest.supervision(cut).language or "") not in VOICES]
    if unfit:
        raise AsrLabError(
            f"{len(unfit)} utterances have no language that phonemes are known of: {listing(unfit, 5)}",
            where=where,
            allowed=f"the languages {', '.join(VOICES)} in the manifest, or no phonemes (data.phonemes=false)",
        )


@lru_cache(maxsize=100_000)
def _phonemes(text: str, language: str) -> tuple[str, ...]:
    espeak.require("phonemes are told")
    voice = espeak.Voice(name=language, voice=VOICES[language])
    words = espeak.Engine().phonemes(text, voice).split(" ")
    return tuple(mark for word in words for mark in _marks(word, language))


def _marks(word: str, language: str) -> list[str]:
    """The phonemes of a word as eSpeak writes it (`k|w|'I|k`), without stress, pauses and changes of language."""
    marks = [mark.translate(_STRESS) for mark in word.split("|")]
    spoken = [mark for mark in marks if mark and mark[0] not in "_(" and mark not in ("-", ";", "!")]
    return _korean(spoken) if language == "ko" else spoken


def _korean(marks: list[str]) -> list[str]:
    """One mark a phoneme: a stop and the `h` behind it are aspirated, and no coda is tense."""
    found: list[str] = []
    for place, mark in enumerate(marks):
        mark = _ONE_SOUND.get(mark, mark)
        if mark == "h" and found and found[-1] in ("k", "t", "p", "tS"):
            found[-1] += mark
        elif mark.endswith("-") and mark != "u-" and marks[place + 1 : place + 2] not in [[v] for v in _KOREAN_VOWELS]:
            found.append(mark[:-1])
        else:
            found.append(mark)
    return found


def _short(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()


def _known(language: str) -> str:
    if _short(language) not in VOICES:
        raise AsrLabError(f"phonemes of the language {language!r} are not known", allowed=", ".join(VOICES))
    return _short(language)
