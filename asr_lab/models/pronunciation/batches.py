"""Batches of pronunciation: sound, canonical phonemes, and what was said of them.

Shapes: B utterances, N canonical phonemes, L phonemes that were said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_lab.data import manifest
from asr_lab.data.batches import LABEL_PADDING, Batch, Index
from asr_lab.data.pronunciation import Pronunciation, pronunciation
from asr_lab.models.pronunciation.config import DIAGNOSES, UNITS
from asr_lab.models.wav2vec2.batches import SoundCollator

CLASS_OF = {unit: place for place, unit in enumerate(UNITS)}
_DIAGNOSIS_OF = {unit: place for place, unit in enumerate(DIAGNOSES)}
_NO_SCORE = -1.0


@dataclass(frozen=True, kw_only=True)
class PronunciationCollator(SoundCollator):
    """Sound as `SoundCollator` has it, with `canonical` (B, N) and `words` (B, N), padded with -100.

    `labelled`: with `labels` (B, L), `label_lengths`, `errors` (B, N), `diagnoses` (B, N) and, where every utterance
    has them, `scores` (B, N) too.
    """

    labelled: bool = False

    def __call__(self, indices: Sequence[Index]) -> Batch:
        batch = self.inputs(indices)
        batch["cut_ids"] = [cut.id for cut, _ in indices]
        if self.labelled:
            return batch | answers([pronunciation(cut) for cut, _ in indices])
        asked = [(manifest.field(cut, "canonical"), manifest.field(cut, "canonical_words")) for cut, _ in indices]
        return batch | questions([text for text, _ in asked], [words or [0] * len(text) for text, words in asked])


def questions(canonical: Sequence[Sequence[str]], words: Sequence[Sequence[int]]) -> Batch:
    """What should have been said, and the word each phoneme belongs to."""
    return {
        "canonical": _padded([[CLASS_OF[phoneme] for phoneme in one] for one in canonical]),
        "words": _padded(words),
    }


def answers(said: Sequence[Pronunciation]) -> Batch:
    """What should have been said, and all that is known of what was."""
    labels = [[CLASS_OF[phoneme] for phoneme in one.spoken] for one in said]
    batch = questions([one.canonical for one in said], [one.words or [0] * len(one.canonical) for one in said])
    batch |= {
        "labels": _padded(labels),
        "label_lengths": torch.tensor([len(one) for one in labels]),
        "errors": _padded([one.errors for one in said]),
        "diagnoses": _padded([[_DIAGNOSIS_OF[phoneme] for phoneme in one.perceived] for one in said]),
    }
    if all(one.scores is not None for one in said):
        rows = [torch.tensor(one.scores) for one in said]
        batch["scores"] = pad_sequence(rows, batch_first=True, padding_value=_NO_SCORE)
    return batch


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    tensors = [torch.tensor(list(row), dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=LABEL_PADDING)
