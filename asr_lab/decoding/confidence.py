"""Times and confidence of the words of a text, however it was decoded: by aligning it with the network's output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from asr_lab.decoding.align import align


@dataclass(frozen=True)
class AlignedWord:
    """A word, its frames, and how probable the network finds its units there."""

    text: str
    start: int
    """First frame."""
    end: int
    """One past the last frame."""
    confidence: float
    """Geometric mean over its units of the highest probability in each one's frames, 0 to 1; not calibrated."""


def aligned_words(
    log_probs_UV: Tensor, text: str, encode: Callable[[str], list[int]], boundary: int | None, blank: int
) -> list[AlignedWord]:
    """Return the words of a text with rising frames, for log probabilities (U, V) of its utterance.

    `encode` returns the classes of a word, `boundary` is the class between words, where there is one. A word without
    classes is left out. Raises `AsrLabError` if there are too few frames for the text.
    """
    words = [(word, classes) for word in text.split() if (classes := encode(word))]
    tokens: list[int] = []
    places: list[tuple[str, int, int]] = []
    for word, classes in words:
        if tokens and boundary is not None:
            tokens.append(boundary)
        places.append((word, len(tokens), len(tokens) + len(classes)))
        tokens += classes
    spans = align(log_probs_UV, tokens, blank)
    best = [float(log_probs_UV[start:end, token].max()) for token, (start, end) in zip(tokens, spans, strict=True)]
    return [
        AlignedWord(word, spans[first][0], spans[last - 1][1], _mean_probability(best[first:last]))
        for word, first, last in places
    ]


def _mean_probability(log_probs: list[float]) -> float:
    return math.exp(sum(log_probs) / len(log_probs))
