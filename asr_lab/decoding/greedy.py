"""Greedy CTC decoding (Graves et al. 2006, best path): the best class of each frame, repeats merged, blanks dropped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor

from asr_lab.data.text import SPACE, WORD_START

_SPECIAL = re.compile(r"</?\w+>")


def best_path(logits_BTV: Tensor, lengths_B: Tensor, blank: int) -> list[list[int]]:
    """Return the class sequences of a batch; frames from each length on are ignored."""
    paths = logits_BTV.argmax(dim=-1).cpu()
    sequences = []
    for path, length in zip(paths, lengths_B.tolist(), strict=True):
        merged = torch.unique_consecutive(path[: int(length)])
        sequences.append(merged[merged != blank].tolist())
    return sequences


def confidence(logits_BTV: Tensor, lengths_B: Tensor, blank: int) -> list[float]:
    """Return the confidence of the best path of each utterance: the mean probability over its non-blank frames.

    This is NeMo's `max_prob` (Laptev & Ginsburg 2023, arXiv:2212.08703); 0 for an empty path.
    """
    probabilities, paths = logits_BTV.softmax(dim=-1).max(dim=-1)
    confidences = []
    for values, path, length in zip(probabilities, paths, lengths_B.tolist(), strict=True):
        written = values[: int(length)][path[: int(length)] != blank]
        confidences.append(float(written.mean()) if len(written) else 0.0)
    return confidences


def to_text(sequence: Sequence[int], units: Sequence[str]) -> str:
    """Convert classes to text: word boundaries and beginnings to spaces, jamo to syllables; drop `<unk>` and others."""
    characters = (units[index] for index in sequence)
    text = "".join(" " if unit == SPACE else unit for unit in characters if not _SPECIAL.fullmatch(unit))
    return " ".join(unicodedata.normalize("NFC", text.replace(WORD_START, " ")).split())
