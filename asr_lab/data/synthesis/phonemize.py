"""Between texts, ARPAbet and what eSpeak says: a text's phonemes, phonemes as mnemonics to say, and what was said.

Every phoneme is said by one mnemonic that depends on stress and neighbours only, also where nothing was changed:
eSpeak's own choice among several for a phoneme would tell changed phonemes from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from unicodedata import name

from asr_lab.data.arpabet import TO_ESPEAK, VOWELS, from_espeak
from asr_lab.data.synthesis.espeak import Engine, Voice
from asr_lab.data.synthesis.worker_pool import Spoken
from asr_lab.errors import AsrLabError, listing

MAX_WORDS = 80  # more in a bracket eSpeak says wrong
_READER = Voice(name="reader", voice="en-us")
_R_COLOURED = {"AA": "A@", "AO": "O@", "EH": "e@", "IH": "i@3", "UH": "U@"}  # vowel -> it and an R behind it
_CODA_SHARE = 1 / 3  # of a vowel's time for the `l` or `r` that eSpeak makes its end and gives no time of its own


@dataclass(frozen=True)
class Sound:
    """A phoneme of a word; `stress` is eSpeak's mark before a stressed vowel, `'` or `,`, or nothing."""

    phoneme: str
    stress: str = ""


Word = tuple[Sound, ...]


def read(text: str) -> tuple[Word, ...]:
    """The words of an English text as eSpeak NG's American English reads them, those it says nothing of left out.

    Raises `AsrLabError` where nothing is left, for more words than eSpeak says at once, for sounds of no English, and
    for letters of another script, which eSpeak would read by their names.
    """
    if strange := sorted({letter for letter in text if letter.isalpha() and "LATIN" not in name(letter, "")}):
        raise AsrLabError(f"letters that English is not written in: {listing(strange)}", allowed="an English text")
    apart = text.replace(" ", "\u00a0")  # with plain spaces eSpeak takes `in the` for one word
    try:
        words = [_word(marks.split("|")) for marks in Engine().phonemes(apart, _READER).split(" ")]
    except KeyError as error:
        raise AsrLabError(f"eSpeak NG reads {text!r} with {error.args[0]!r}, which is no English phoneme") from error
    found = tuple(word for word in words if word)
    if not 0 < len(found) <= MAX_WORDS:
        raise AsrLabError(
            f"{len(found)} words can be said of {text[:60]!r}", allowed=f"English sentences of 1 to {MAX_WORDS} words"
        )
    return found


def _word(marks: Sequence[str]) -> Word:
    """The sounds of a word; raises `KeyError` for a mark of another language."""
    foreign = [mark for mark in marks if mark.startswith("(")]
    if foreign:
        raise KeyError(foreign[0])  # it changes to the voice of another language
    sounds = []
    for mark, phonemes in zip(marks, from_espeak(marks), strict=True):
        stress = mark[0] if mark[:1] in ("'", ",") else ""
        for phoneme in phonemes:
            sounds.append(Sound(phoneme, stress if phoneme in VOWELS else ""))
            stress = ""  # of two vowels in a mark the first is the stressed one
    return tuple(sounds)


def to_espeak(words: Sequence[Word], *, rhotic: bool = True) -> str:
    """The words for `Engine.say(..., as_phonemes=True)`: `D|@ k|w|'I|k`.

    `rhotic`: the voice is American, whose `r` behind a vowel is heard only in the marks that hold both.
    """
    words = [word for word in words if word]
    firsts = [word[0].phoneme for word in words[1:]] + [""]
    return " ".join("|".join(_marks(word, first, rhotic)) for word, first in zip(words, firsts, strict=True))


def _marks(word: Word, following: str, rhotic: bool) -> list[str]:
    """The mnemonics of a word; `following` is the first phoneme of the next word."""
    phonemes = [sound.phoneme for sound in word] + [following]
    found: list[str] = []
    for place, sound in enumerate(word):
        after = phonemes[place + 1]
        inside = after if place + 1 < len(word) else ""
        before = phonemes[place - 1] if place else ""
        if sound.phoneme == "R" and rhotic and before in VOWELS and inside not in VOWELS:
            found += [] if before in _R_COLOURED else ["r-"]
        elif rhotic and inside == "R" and sound.phoneme in _R_COLOURED:
            found.append(sound.stress + _R_COLOURED[sound.phoneme])
        else:
            found.append(_mark(sound, after))
    return found


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
    """A phoneme that was said, and when, in seconds."""

    phoneme: str
    start_s: float
    end_s: float


def spoken_phonemes(spoken: Spoken) -> list[SpokenPhoneme]:
    """What was said, from eSpeak's events. A mark of two phonemes is halved; see `_CODA_SHARE` for what has no time.

    Raises `KeyError` for a mnemonic that American English does not have.
    """
    found: list[SpokenPhoneme] = []
    for (_, start, duration), phonemes in zip(spoken, from_espeak([mark for mark, _, _ in spoken]), strict=True):
        if duration <= 0 and found and phonemes:
            before = found[-1]
            end = before.end_s
            start = end - _CODA_SHARE * (end - before.start_s)
            duration = end - start
            found[-1] = replace(before, end_s=round(start, 3))
        if not phonemes and found:  # an r that the vowel before holds
            found[-1] = replace(found[-1], end_s=round(start + duration, 3))
        for place, phoneme in enumerate(phonemes):
            part = duration / len(phonemes)
            found.append(SpokenPhoneme(phoneme, round(start + place * part, 3), round(start + (place + 1) * part, 3)))
    return found
