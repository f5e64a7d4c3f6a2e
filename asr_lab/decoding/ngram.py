"""Train n-gram language models: interpolated modified Kneser-Ney (Chen & Goodman 1999), as KenLM's `lmplz` does.

A word that the text does not have is `<unk>`, which shares the uniform part of the unigrams: its probability is what
lets a decoder keep words outside its lexicon. Probabilities sum to 1 after every history.

Legend: an n-gram is a tuple of words; its history is all but its last word.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from asr_lab.data.text import SPACE
from asr_lab.errors import AsrLabError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
MARKS = (BEGIN, END, UNKNOWN)
MOST_WORDS = 6
"""The highest order that the decoder's KenLM is built for."""
NEVER = -99.0
"""log10 probability of what is never predicted: the beginning of a sentence."""
_FALLBACK = (0.5, 1.0, 1.5)  # as `lmplz --discount_fallback`, for texts too small to estimate discounts

Ngram = tuple[str, ...]
Units = Literal["words", "characters", "jamo"]


@dataclass(frozen=True)
class NgramModel:
    """A back-off model: p(w | h) is that of the n-gram, else the back-off weight of h times p(w | h without its first).

    All values are log10.
    """

    probabilities: Mapping[Ngram, float]
    backoffs: Mapping[Ngram, float]

    @cached_property
    def order(self) -> int:
        return max(map(len, self.probabilities))

    @cached_property
    def words(self) -> set[str]:
        """All words it knows, without marks."""
        return {ngram[0] for ngram in self.probabilities if len(ngram) == 1} - set(MARKS)

    def log10(self, word: str, history: Ngram = ()) -> float:
        """Return the log10 probability of a word after a history; unknown words are `<unk>`."""
        known = [one if (one,) in self.probabilities else UNKNOWN for one in (*history, word)]
        ngram = tuple(known[-self.order :])
        penalty = 0.0
        while ngram not in self.probabilities:
            if len(ngram) == 1:
                return NEVER
            penalty += self.backoffs.get(ngram[:-1], 0.0)
            ngram = ngram[1:]
        return penalty + self.probabilities[ngram]

    def sentence(self, words: Iterable[str]) -> float:
        """Return the log10 probability of a sentence, its end included."""
        history: Ngram = (BEGIN,)
        total = 0.0
        for word in (*words, END):
            total += self.log10(word, history)
            history = (*history, word)[-self.order :]
        return total


def split_text(text: str, units: Units) -> list[str]:
    """Split normalised text into what a model predicts: words, or units with `|` between words."""
    if units == "words":
        return text.split()
    written = unicodedata.normalize("NFD", text) if units == "jamo" else text
    return [SPACE if unit == " " else unit for unit in written]


def train(sentences: Iterable[Iterable[str]], order: int) -> NgramModel:
    """Train a model of an order from 2 to 6 on sentences, each a sequence of words; lower if all are shorter.

    Raises `AsrLabError` for other orders, a text without words, and words that are marks of the format.
    """
    if not 2 <= order <= MOST_WORDS:
        raise AsrLabError(f"no language model of order {order}", allowed=f"2 to {MOST_WORDS}")
    counts = _adjusted([one for one in _counted(sentences, order) if one])
    if not counts:
        raise AsrLabError("the text has no words", allowed="at least one sentence of at least one word")
    probabilities: dict[Ngram, float] = {(BEGIN,): NEVER}
    backoffs: dict[Ngram, float] = {}
    shares: dict[Ngram, float] = {}  # of the n-grams of the order below
    for one in counts:
        shares, weights = _smoothed(one, shares)
        probabilities |= {ngram: math.log10(share) for ngram, share in shares.items()}
        backoffs |= {history: math.log10(weight) for history, weight in weights.items() if history}
    return NgramModel(probabilities, backoffs)


def _counted(sentences: Iterable[Iterable[str]], order: int) -> list[Counter[Ngram]]:
    """Count the n-grams of each order from 1; the beginning of a sentence is counted as history alone."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        words = (BEGIN, *sentence, END)
        if wrong := set(words[1:-1]) & set(MARKS):
            raise AsrLabError(
                f"{min(wrong)} is a mark of language models, not a word of a text", allowed="transcripts without it"
            )
        if len(words) == 2:
            continue
        for n in range(1, order + 1):
            counts[n - 1].update(words[i : i + n] for i in range(len(words) - n + 1))
    del counts[0][(BEGIN,)]
    return counts


def _adjusted(counts: list[Counter[Ngram]]) -> list[Counter[Ngram]]:
    """Replace counts below the highest order by the number of different words before the n-gram (Kneser-Ney).

    Nothing precedes the beginning of a sentence: n-grams that start there keep their counts.
    """
    adjusted = counts[-1:]
    for lower, higher in zip(counts[-2::-1], counts[:0:-1], strict=True):
        before = Counter(ngram[1:] for ngram in higher)
        before.update({ngram: count for ngram, count in lower.items() if ngram[0] == BEGIN})
        adjusted.append(before)
    return adjusted[::-1]


def _smoothed(counts: Counter[Ngram], lower: Mapping[Ngram, float]) -> tuple[dict[Ngram, float], dict[Ngram, float]]:
    """Return (n-gram -> probability, history -> back-off weight), interpolated with the order below.

    Unigrams (no `lower`) are interpolated with the uniform distribution over all words, the end and `<unk>`.
    """
    discounts = _discounts(counts.values())
    totals: Counter[Ngram] = Counter()
    freed: defaultdict[Ngram, float] = defaultdict(float)
    for ngram, count in counts.items():
        totals[ngram[:-1]] += count
        freed[ngram[:-1]] += discounts[min(count, 3) - 1]
    weights = {history: mass / totals[history] for history, mass in freed.items()}
    uniform = 1 / (len(counts) + 1)
    shares: dict[Ngram, float] = {} if lower else {(UNKNOWN,): weights[()] * uniform}
    for ngram, count in counts.items():
        history = ngram[:-1]
        seen = (count - discounts[min(count, 3) - 1]) / totals[history]
        shares[ngram] = seen + weights[history] * (lower[ngram[1:]] if lower else uniform)
    return shares, weights


def _discounts(counts: Iterable[int]) -> tuple[float, ...]:
    """Return the discounts of n-grams seen once, twice, and more often (Chen & Goodman 1999, eq. 26)."""
    kinds = Counter(counts)
    ones, twos = kinds[1], kinds[2]
    if not all(kinds[k] for k in (1, 2, 3, 4)):
        return _FALLBACK
    share = ones / (ones + 2 * twos)
    discounts = tuple(k - (k + 1) * share * kinds[k + 1] / kinds[k] for k in (1, 2, 3))
    return discounts if all(0 < one <= k for k, one in enumerate(discounts, 1)) else _FALLBACK


def arpa_lines(model: NgramModel) -> Iterator[str]:
    """Yield the lines of the model in ARPA format, sorted: the same text gives the same file."""
    by_order: defaultdict[int, list[Ngram]] = defaultdict(list)
    for ngram in model.probabilities:
        by_order[len(ngram)].append(ngram)
    yield "\\data\\"
    yield from (f"ngram {n}={len(by_order[n])}" for n in range(1, model.order + 1))
    for n in range(1, model.order + 1):
        yield from ("", f"\\{n}-grams:")
        for ngram in sorted(by_order[n]):
            line = f"{model.probabilities[ngram]:.7f}\t{' '.join(ngram)}"
            yield f"{line}\t{model.backoffs[ngram]:.7f}" if ngram in model.backoffs else line
    yield from ("", "\\end\\")
