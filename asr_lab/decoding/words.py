"""The words of a decoded text with times and confidence: from the best CTC path, or aligned with the network's output.

Legend: U frames, V classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from asr_lab.data.text import SPACE, WORD_START
from asr_lab.decoding.align import align
from asr_lab.decoding.greedy import to_text

_NO_TIE = 1e-3  # torchaudio's Viterbi takes another path where the best two are equal


@dataclass(frozen=True)
class Word:
    """A word of a transcript.

    It lasts from the first frame of its first unit to the last one of its last unit. CTC models emit a unit in few
    frames near its middle, so words begin somewhat late and end somewhat early.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float
    """Geometric mean over its units of the highest probability in each one's frames, 0 to 1; not calibrated."""


def best_path_words(
    logits_UV: Tensor, units: Sequence[str], blank: int, frame_shift_s: float, *, each_unit: bool = False
) -> list[Word]:
    """Return the words of an utterance's best path: those of `greedy.to_text`, none without times.

    They are as `aligned_words` has them for that text. `each_unit`: units are words.
    """
    log_probs_U, path_U = logits_UV.float().log_softmax(dim=-1).max(dim=-1)
    return path_words(path_U.tolist(), log_probs_U.tolist(), units, blank, frame_shift_s, each_unit=each_unit)


def path_words(
    path: Sequence[int],
    log_probs: Sequence[float],
    units: Sequence[str],
    blank: int,
    frame_shift_s: float,
    *,
    each_unit: bool = False,
) -> list[Word]:
    """Return the words of a path, a class and its log probability for each frame, as `best_path_words` does."""
    labels, lengths = torch.unique_consecutive(torch.tensor(path, dtype=torch.long), return_counts=True)
    edges = [0, *lengths.cumsum(0).tolist()]
    groups: list[list[tuple[int, int, int]]] = [[]]
    for label, (start, end) in zip(labels.tolist(), pairwise(edges), strict=True):
        if label == blank:
            continue
        unit = units[label]
        if each_unit or unit == SPACE or unit.isspace() or unit.startswith(WORD_START):
            groups.append([])
        groups[-1].append((label, start, end))
    words = []
    for group in groups:
        if text := to_text([label for label, _, _ in group], units):
            spelt = [(start, end) for label, start, end in group if to_text([label], units)] or [group[0][1:]]
            words.append(_word(text, spelt, [max(log_probs[start:end]) for start, end in spelt], frame_shift_s))
    return words


def aligned_words(
    log_probs_UV: Tensor,
    text: str,
    encode: Callable[[str], list[int]],
    boundary: int | None,
    blank: int,
    frame_shift_s: float,
) -> list[Word]:
    """Return the words of a text, however it was decoded, for log probabilities (U, V) of its utterance.

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
    spans = align(_with_free_boundaries(log_probs_UV, boundary, blank), tokens, blank)
    best = [float(log_probs_UV[start:end, token].max()) for token, (start, end) in zip(tokens, spans, strict=True)]
    return [_word(word, spans[first:last], best[first:last], frame_shift_s) for word, first, last in places]


def _with_free_boundaries(log_probs_UV: Tensor, boundary: int | None, blank: int) -> Tensor:
    """Turn boundaries before the first word, after the last and repeated ones into blanks: a text has none."""
    if boundary is None:
        return log_probs_UV
    free_UV = log_probs_UV.clone()
    no_tie_U = torch.linspace(_NO_TIE, 2 * _NO_TIE, len(free_UV), device=free_UV.device)
    free_UV[:, blank] = torch.maximum(log_probs_UV[:, blank], log_probs_UV[:, boundary] - no_tie_U)
    return free_UV


def _word(text: str, spans: Sequence[tuple[int, int]], log_probs: Sequence[float], frame_shift_s: float) -> Word:
    """Return a word of units with these frames and highest log probabilities."""
    return Word(
        text,
        round(spans[0][0] * frame_shift_s, 3),
        round(spans[-1][1] * frame_shift_s, 3),
        round(math.exp(sum(log_probs) / len(log_probs)), 4),
    )
