"""Transcripts: the text normaliser and the character vocabulary, both saved with the model."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asr_lab.config.schema import Text
from asr_lab.data.korean_numbers import read_out
from asr_lab.data.transcript_marks import DUAL, all_maybe_marked, without_marks
from asr_lab.errors import AsrLabError
from asr_lab.units import frames_needed

BLANK, UNKNOWN, SPACE = "<pad>", "<unk>", "|"
_DROPPED, _BEGIN = -1, -2  # in an array of classes: a unit that has none, the beginning of a text
WORD_START = "▁"
"""Begins the first subword of a word (U+2581, as in SentencePiece)."""

# KsponSpeech: `b/ (70%)/(칠십 퍼센트) 확률+ 뭐*` marks noise, spelling and pronunciation, stutter, unclear speech
_NOISE_MARK = re.compile(r"(?<![A-Za-z])[blnou]/")
_BETWEEN_WORDS = re.compile(r"(?<=[\w%])[/+*]+(?=\w)")  # 24/7 and 1+1 are two words; the marks stand behind a word
_PUNCTUATION = re.compile(r"[^\w\s]|_")  # and what else is neither a letter nor a number, such as accents
_MOST_PUNCTUATION = ".,?!"  # replaced at once, without looking at each
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

    def all(self, texts: Sequence[str]) -> list[str]:
        """Normalise many transcripts: the same as one by one, several times as fast."""
        ordinary = [not one and "\n" not in text for text, one in zip(texts, all_maybe_marked(texts), strict=True)]
        if self.numbers != "keep" or not any(ordinary):
            return [self(text) for text in texts]
        joined = unicodedata.normalize(  # nothing below looks beyond the end of a line
            self.unicode,  # type: ignore[arg-type]
            "\n".join(text for text, one in zip(texts, ordinary, strict=True) if one),
        )
        if self.lowercase:
            joined = joined.lower()
        if self.strip_punctuation:
            joined = _without_punctuation(joined)
        lines = iter(joined.split("\n"))
        return [
            " ".join((next(lines) if one else self(text)).split()) for text, one in zip(texts, ordinary, strict=True)
        ]


def _one_of_two(text: str, *, phonetic: bool) -> str:
    """Resolve KsponSpeech's dual transcription and remove its marks; `#` becomes 샾, `%` 퍼센트, as in KoSpeech."""
    text = DUAL.sub(r"\2" if phonetic else r"\1", text)
    text = _BETWEEN_WORDS.sub(" ", _NOISE_MARK.sub(" ", text)).translate(_OTHER_MARKS)
    return text.replace("#", "샾").replace("%", "퍼센트") if phonetic else text


def _without_punctuation(text: str) -> str:
    """Replace punctuation and symbols by spaces, except apostrophes within words."""
    text = text.replace("\u2019", "'")
    for mark in _MOST_PUNCTUATION:
        text = text.replace(mark, " ")
    return _PUNCTUATION.sub(_kept_or_space, text)


def _kept_or_space(match: re.Match[str]) -> str:
    character, text = match[0], match.string
    if character == "'":
        before, behind = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        return character if before.isalpha() and behind.isalpha() else " "
    return " " if unicodedata.category(character)[0] in "PS" else character


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


def split_all(
    texts: Sequence[str], normalizer: TextNormalizer, subwords: Splitter | None = None
) -> list[Sequence[str]]:
    """Normalise transcripts and split them into units: the same as one by one, faster."""
    normalized = normalizer.all(texts)
    if normalizer.units == "characters":
        return list(normalized)
    return [split_units(text, normalizer, subwords) for text in normalized]


def build_vocabulary(texts: Iterable[Sequence[str]]) -> dict[str, int]:
    """Return character -> class: the CTC blank (`<pad>`), `<unk>`, the word boundary `|`, then characters."""
    characters = {character for text in texts for character in text} - {" ", SPACE}
    return {unit: index for index, unit in enumerate([BLANK, UNKNOWN, SPACE, *sorted(characters)])}


def characters(texts: Iterable[str]) -> Counter[str]:
    """Count the characters of texts."""
    codes = code_points("".join(texts))
    counts = np.bincount(codes)
    return Counter({chr(code): int(counts[code]) for code in np.flatnonzero(counts)})


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def encode(text: Sequence[str], vocabulary: dict[str, int]) -> list[int]:
    """Encode the units of a text as classes; unknown characters become `<unk>`, or are dropped if there is none."""
    unknown = vocabulary.get(UNKNOWN)
    classes = (vocabulary.get(SPACE if character == " " else character, unknown) for character in text)
    return [index for index in classes if index is not None]


def outside(texts: Iterable[Sequence[str]], vocabulary: dict[str, int]) -> Counter[str]:
    """Count the characters outside the vocabulary."""
    counts = Counter(character for text in texts for character in text if character != " ")
    return Counter({character: n for character, n in counts.items() if character not in vocabulary})


@dataclass(frozen=True)
class LabelCounts:
    """What N texts take as classes."""

    labels: npt.NDArray[np.int64]
    """(N,)"""
    frames: npt.NDArray[np.int64]
    """(N,): the fewest frames in which CTC can write them (`units.frames_needed`)."""
    unknown: Counter[str]
    """Units outside the vocabulary, but spaces."""


def count_labels(texts: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> LabelCounts:
    """Count the classes that `encode` returns for each text, with array operations where units are characters."""
    if not all(isinstance(text, str) and "\n" not in text for text in texts):
        encoded = [encode(text, vocabulary) for text in texts]
        counts = np.array([(len(one), frames_needed(one)) for one in encoded], dtype=np.int64).reshape(-1, 2)
        return LabelCounts(counts[:, 0], counts[:, 1], outside(texts, vocabulary))
    codes = code_points("\n".join(["", *map(str, texts)]))
    counts = np.bincount(codes, minlength=ord("\n") + 1)
    distinct = np.flatnonzero(counts)
    named = [chr(code) for code in distinct]
    unknown = vocabulary.get(UNKNOWN, _DROPPED)
    class_of = np.full(len(counts), _DROPPED, dtype=np.int32)
    class_of[distinct] = [vocabulary.get(SPACE if unit == " " else unit, unknown) for unit in named]
    class_of[ord("\n")] = _BEGIN
    path = class_of[codes]
    path = path[path != _DROPPED]
    begin = path == _BEGIN
    text_of = np.cumsum(begin) - 1
    repeats = np.concatenate([[False], path[1:] == path[:-1]]) & ~begin
    labels = np.bincount(text_of[~begin], minlength=len(texts))
    number = dict(zip(named, counts[distinct].tolist(), strict=True))
    outer = Counter({unit: n for unit, n in number.items() if unit not in vocabulary and unit not in " \n"})
    return LabelCounts(labels, labels + np.bincount(text_of[repeats], minlength=len(texts)), outer)
