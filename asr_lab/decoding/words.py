"""Words with times and confidence of the best CTC path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from asr_lab.data.text import SPACE
from asr_lab.decoding.greedy import to_text


@dataclass(frozen=True)
class Word:
    """A word of a transcript; `confidence` is the mean probability of its frames that are not blank."""

    text: str
    start_s: float
    end_s: float
    confidence: float


def words(
    logits_UV: Tensor, units: Sequence[str], blank: int, frame_shift_s: float, *, each_unit: bool = False
) -> list[Word]:
    """Return the words of an utterance's logits (U, V): those of `greedy.to_text`, none without times.

    A word lasts from the first frame of its first unit to the last one of its last unit. CTC models emit a unit in few
    frames near its middle, so words begin somewhat late and end somewhat early. `each_unit`: units are words.
    """
    probabilities_U, path_U = logits_UV.float().softmax(dim=-1).max(dim=-1)
    labels, lengths = torch.unique_consecutive(path_U.cpu(), return_counts=True)
    edges = [0, *lengths.cumsum(0).tolist()]
    values = probabilities_U.cpu().tolist()
    groups: list[list[tuple[int, int, int]]] = [[]]
    for label, (start, end) in zip(labels.tolist(), pairwise(edges), strict=True):
        if label == blank:
            continue
        unit = units[label]
        if each_unit or unit == SPACE or unit.isspace() or unit.startswith("▁"):
            groups.append([])
        groups[-1].append((label, start, end))
    made = [_word(group, units, values, frame_shift_s) for group in groups if group]
    return [word for word in made if word.text]


def _word(
    group: Sequence[tuple[int, int, int]], units: Sequence[str], values: Sequence[float], frame_shift_s: float
) -> Word:
    spelt = [run for run in group if to_text([run[0]], units)] or group
    frames = [value for _, start, end in spelt for value in values[start:end]]
    return Word(
        to_text([label for label, _, _ in group], units),
        round(spelt[0][1] * frame_shift_s, 3),
        round(spelt[-1][2] * frame_shift_s, 3),
        round(sum(frames) / len(frames), 4),
    )
