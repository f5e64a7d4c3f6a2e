"""Convert between texts, ARPAbet and eSpeak phonemes.

Every phoneme is synthesised as one eSpeak phoneme that depends on stress and neighbours only, also in unchanged words:
eSpeak's own choice of allophones would reveal which phonemes were changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from unicodedata import name

from asr_lab.data.arpabet import TO_ESPEAK, VOWELS, from_espeak
from asr_lab.data.synthesis.espeak import Engine, Voice
from asr_lab.data.synthesis.worker_pool import Spoken
from asr_lab.errors import AsrLabError, listing

MAX_WORDS = 80  # eSpeak mispronounces longer phoneme input
_READER = Voice(name="reader", voice="en-us")
_R_COLOURED = {"AA": "A@", "AO": "O@", "EH": "e@", "IH": "i@3", "UH": "U@"}  # vowel -> vowel followed by R
_CODA_SHARE = 1 / 3  # of a vowel's duration, for an `l` or `r` that eSpeak merges into it


@dataclass(frozen=True)
class Sound:
    """A phoneme of a word; `stress` is eSpeak's mark of a stressed vowel, `'` or `,`, else ""."""

    phoneme: str
    stress: str = ""


Word = tuple[Sound, ...]


def read(text: str) -> tuple[Word, ...]:
    """Return the words of an English text as pronounced by eSpeak NG's American English, without silent ones.

    Raises `AsrLabError` for an empty or too long text, non-English phonemes, and letters of other scripts, which
    eSpeak would spell out.
    """
    if strange := sorted({letter for letter in text if letter.isalpha() and "LATIN" not in name(letter, "")}):
        raise AsrLabError(f"letters that are not English: {listing(strange)}", allowed="an English text")
    with_nbsp = text.replace(" ", "\u00a0")  # with plain spaces eSpeak joins `in the` to one word
    try:
        words = [_word(marks.split("|")) for marks in Engine().phonemes(with_nbsp, _READER).split(" ")]
    except KeyError as error:
        raise AsrLabError(f"eSpeak NG reads {text!r} with {error.args[0]!r}, which is no English phoneme") from error
    words_read = tuple(word for word in words if word)
    if not 0 < len(words_read) <= MAX_WORDS:
        raise AsrLabError(
            f"{len(words_read)} words with phonemes in {text[:60]!r}",
            allowed=f"English sentences of 1 to {MAX_WORDS} words",
        )
    return words_read


def _word(marks: Sequence[str]) -> Word:
    """Return the sounds of a word; raises `KeyError` for a phoneme of another language."""
    foreign = [mark for mark in marks if mark.startswith("(")]
    if foreign:
        raise KeyError(foreign[0])  # a switch to the voice of another language
    sounds = []
    for mark, phonemes in zip(marks, from_espeak(marks), strict=True):
        stress = mark[0] if mark[:1] in ("'", ",") else ""
        for phoneme in phonemes:
            sounds.append(Sound(phoneme, stress if phoneme in VOWELS else ""))
            stress = ""  # of two vowels in a symbol the first is stressed
    return tuple(sounds)


def to_espeak(words: Sequence[Word], *, rhotic: bool = True) -> str:
    """Return the words as input of `Engine.synthesize(..., as_phonemes=True)`: `D|@ k|w|'I|k`.

    `rhotic`: the voice is American, whose `r` after a vowel is audible only in symbols for both.
    """
    words = [word for word in words if word]
    firsts = [word[0].phoneme for word in words[1:]] + [""]
    return " ".join("|".join(_marks(word, first, rhotic)) for word, first in zip(words, firsts, strict=True))


def _marks(word: Word, following: str, rhotic: bool) -> list[str]:
    """Return the eSpeak phonemes of a word; `following` is the first phoneme of the next word."""
    phonemes = [sound.phoneme for sound in word] + [following]
    symbols: list[str] = []
    for index, sound in enumerate(word):
        after = phonemes[index + 1]
        inside = after if index + 1 < len(word) else ""
        before = phonemes[index - 1] if index else ""
        if sound.phoneme == "R" and rhotic and before in VOWELS and inside not in VOWELS:
            symbols += [] if before in _R_COLOURED else ["r-"]
        elif rhotic and inside == "R" and sound.phoneme in _R_COLOURED:
            symbols.append(sound.stress + _R_COLOURED[sound.phoneme])
        else:
            symbols.append(_mark(sound, after))
    return symbols


def _mark(sound: Sound, after: str) -> str:
    if sound.phoneme == "T":
        return "t2"  # a plain `t` becomes a tap between vowels, and a glottal stop at the end
    if sound.stress:
        return sound.stress + TO_ESPEAK[sound.phoneme]
    if sound.phoneme == "AH":
        return "V" if after == "R" or after in VOWELS else "@"  # `@` and `r` would become one
    return "I#" if sound.phoneme == "IH" else TO_ESPEAK[sound.phoneme]


@dataclass(frozen=True)
class SpokenPhoneme:
    """A synthesised phoneme with its times in seconds."""

    phoneme: str
    start_s: float
    end_s: float


def spoken_phonemes(spoken: Spoken) -> list[SpokenPhoneme]:
    """Convert eSpeak's events to ARPAbet. A symbol of two phonemes is halved; see `_CODA_SHARE` for merged codas.

    Raises `KeyError` for a symbol that American English does not have.
    """
    timed: list[SpokenPhoneme] = []
    for (_, start, duration), phonemes in zip(spoken, from_espeak([mark for mark, _, _ in spoken]), strict=True):
        if duration <= 0 and timed and phonemes:
            before = timed[-1]
            end = before.end_s
            start = end - _CODA_SHARE * (end - before.start_s)
            duration = end - start
            timed[-1] = replace(before, end_s=round(start, 3))
        if not phonemes and timed:  # an r that the vowel before holds
            timed[-1] = replace(timed[-1], end_s=round(start + duration, 3))
        for index, phoneme in enumerate(phonemes):
            part = duration / len(phonemes)
            timed.append(SpokenPhoneme(phoneme, round(start + index * part, 3), round(start + (index + 1) * part, 3)))
    return timed
