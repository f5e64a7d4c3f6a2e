"""How often hot words are recognised with being hot and without: one without effect is reported, never silent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asr_lab.errors import listing


@dataclass(frozen=True)
class HotWordCount:
    """A word or phrase as it is in decoded text, and how often it was recognised."""

    word: str
    without: int
    """Without being hot."""
    hot: int

    @property
    def has_effect(self) -> bool:
        return self.hot != self.without


def occurrences(word: str, text: str) -> int:
    """Return how often a word or phrase is in a text, as whole words."""
    return f" {text} ".replace(" ", "  ").count(f" {word} ".replace(" ", "  "))


def compared(words: Iterable[str], without: str, hot: str) -> tuple[HotWordCount, ...]:
    """Return the counts of hot words in the two texts of an utterance."""
    return tuple(HotWordCount(word, occurrences(word, without), occurrences(word, hot)) for word in words)


def total(counts: Iterable[Sequence[HotWordCount]]) -> list[HotWordCount]:
    """Return the sums over utterances, in the order of first mention."""
    sums: dict[str, tuple[int, int]] = {}
    for one in (one for utterance in counts for one in utterance):
        without, hot = sums.get(one.word, (0, 0))
        sums[one.word] = (without + one.without, hot + one.hot)
    return [HotWordCount(word, *both) for word, both in sums.items()]


def hot_word_notes(counts: Iterable[HotWordCount], where: str) -> list[str]:
    """Return what hot words changed, and which were without effect on `where`."""
    counts = list(counts)
    changes = [f"{one.word} {one.without} -> {one.hot}" for one in counts if one.has_effect]
    idle = [one.word for one in counts if not one.has_effect]
    notes = [f"hot words, how often they are recognised: {listing(changes)}"] if changes else []
    return notes + ([f"hot words without effect on {where}: {listing(idle)}"] if idle else [])
