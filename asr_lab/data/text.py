"""Transcripts: the text normaliser and the character vocabulary, both saved with the model."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from asr_lab.config.schema import Text
from asr_lab.data.korean_numbers import read_out
from asr_lab.data.transcript_marks import DUAL, without_marks
from asr_lab.errors import AsrLabError

BLANK, UNKNOWN, SPACE = "<pad>", "<unk>", "|"
WORD_START = "▁"
"""Begins the first subword of a word (U+2581, as in SentencePiece)."""

# KsponSpeech: `b/ (70%)/(칠십 퍼센트) 확률+ 뭐*` marks noise, spelling and pronunciation, stutter, unclear speech
_NOISE_MARK = re.compile(r"(?<![A-Za-z])[blnou]/")
_BETWEEN_WORDS = re.compile(r"(?<=[\w%])[/+*]+(?=\w)")  # 24/7 and 1+1 are two words; the marks stand behind a word
_OTHER_MARKS = str.maketrans("", "", "/+*")


@dataclass(frozen=True)
class TextNormalizer:
    """Normalise transcripts for training and references for scoring; `name` identifies the settings."""

    unicode: str = "NFC"
    lowercase: bool = True
    strip_punctuation: bool = True
    transcription: str = "plain"
    units: str = "characters"
    numbers: str = "keep"

    @classmethod
    def of(cls, settings: Text) -> TextNormalizer:
        return cls(**settings.model_dump(exclude={"vocab_size"}))

    @property
    def name(self) -> str:
        """Such as `nfc-lower-nopunct`; results of different normalisers are not comparable.

        `units` is not part of it: error rates are computed on composed text.
        """
        parts = [] if self.transcription == "plain" else [self.transcription]
        parts += [self.unicode.lower()]
        parts += ["numbers"] if self.numbers == "korean" else []
        parts += ["lower"] if self.lowercase else []
        parts += ["nopunct"] if self.strip_punctuation else []
        return "-".join(parts)

    def __call__(self, text: str) -> str:
        text = without_marks(text)
        if self.transcription != "plain":
            text = _one_of_two(text, phonetic=self.transcription == "phonetic")
        text = unicodedata.normalize(self.unicode, text)  # type: ignore[arg-type]
        if self.numbers == "korean":
            text = read_out(text)
        if self.lowercase:
            text = text.lower()
        if self.strip_punctuation:
            text = _without_punctuation(text)
        return " ".join(text.split())


def _one_of_two(text: str, *, phonetic: bool) -> str:
    """Resolve KsponSpeech's dual transcription and remove its marks; `#` becomes 샾, `%` 퍼센트, as in KoSpeech."""
    text = DUAL.sub(r"\2" if phonetic else r"\1", text)
    text = _BETWEEN_WORDS.sub(" ", _NOISE_MARK.sub(" ", text)).translate(_OTHER_MARKS)
    return text.replace("#", "샾").replace("%", "퍼센트") if phonetic else text


def _without_punctuation(text: str) -> str:
    text = text.replace("\u2019", "'")
    characters: list[str] = []
    for position, character in enumerate(text):
        inside_word = (
            character == "'"
            and 0 < position < len(text) - 1
            and text[position - 1].isalpha()
            and text[position + 1].isalpha()
        )
        if inside_word or unicodedata.category(character)[0] not in "PS":
            characters.append(character)
        else:
            characters.append(" ")
    return "".join(characters)


class Splitter(Protocol):
    """Splits normalised text into subwords (`data.subwords.Subwords`)."""

    def split(self, text: str) -> list[str]: ...


def split_units(text: str, normalizer: TextNormalizer, subwords: Splitter | None = None) -> Sequence[str]:
    """Split normalised text into the units of the vocabulary: characters or jamo, with spaces, or subwords."""
    if normalizer.units == "bpe":
        if subwords is None:
            raise AsrLabError("units=bpe need subwords, and this recogniser has none", allowed="characters, or jamo")
        return subwords.split(text)
    return unicodedata.normalize("NFD", text) if normalizer.units == "jamo" else text


def build_vocabulary(texts: Iterable[Sequence[str]]) -> dict[str, int]:
    """Return character -> class: the CTC blank (`<pad>`), `<unk>`, the word boundary `|`, then characters."""
    characters = {character for text in texts for character in text} - {" ", SPACE}
    return {unit: index for index, unit in enumerate([BLANK, UNKNOWN, SPACE, *sorted(characters)])}


def encode(text: Sequence[str], vocabulary: dict[str, int]) -> list[int]:
    """Encode the units of a text as classes; unknown characters become `<unk>`, or are dropped if there is none."""
    unknown = vocabulary.get(UNKNOWN)
    classes = (vocabulary.get(SPACE if character == " " else character, unknown) for character in text)
    return [index for index in classes if index is not None]


def outside(texts: Iterable[Sequence[str]], vocabulary: dict[str, int]) -> Counter[str]:
    """Count the characters outside the vocabulary."""
    counts = Counter(character for text in texts for character in text if character != " ")
    return Counter({character: n for character, n in counts.items() if character not in vocabulary})
