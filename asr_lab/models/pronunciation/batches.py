"""Batches for pronunciation models: audio, canonical phonemes and their annotation.

Shapes: B utterances, N canonical phonemes, L spoken phonemes.
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
    """Adds `canonical` (B, N) and `words` (B, N), padded with -100, to the batches of `SoundCollator`.

    With `labelled`, also `labels` (B, L), `label_lengths`, `errors` (B, N), `diagnoses` (B, N) and, if every utterance
    has them, `scores` (B, N).
    """

    labelled: bool = False

    def __call__(self, indices: Sequence[Index]) -> Batch:
        batch = self.inputs(self._chains(indices))
        batch["cut_ids"] = [cut.id for cut, _ in indices]
        if self.labelled:
            return batch | label_tensors([pronunciation(cut) for cut, _ in indices])
        rows = [(manifest.field(cut, "canonical"), manifest.field(cut, "canonical_words")) for cut, _ in indices]
        words = [own or [0] * len(canonical) for canonical, own in rows]
        return batch | canonical_tensors([canonical for canonical, _ in rows], words)


def canonical_tensors(canonical: Sequence[Sequence[str]], words: Sequence[Sequence[int]]) -> Batch:
    """Return the canonical phonemes and the word index of each phoneme as padded tensors."""
    return {
        "canonical": _padded([[CLASS_OF[phoneme] for phoneme in one] for one in canonical]),
        "words": _padded(words),
    }


def label_tensors(annotations: Sequence[Pronunciation]) -> Batch:
    """Return the canonical phonemes, spoken phonemes, errors, diagnoses and scores as padded tensors."""
    labels = [[CLASS_OF[phoneme] for phoneme in one.spoken] for one in annotations]
    words = [one.words or [0] * len(one.canonical) for one in annotations]
    batch = canonical_tensors([one.canonical for one in annotations], words)
    batch |= {
        "labels": _padded(labels),
        "label_lengths": torch.tensor([len(one) for one in labels]),
        "errors": _padded([one.errors for one in annotations]),
        "diagnoses": _padded([[_DIAGNOSIS_OF[phoneme] for phoneme in one.perceived] for one in annotations]),
    }
    if all(one.scores is not None for one in annotations):
        rows = [torch.tensor(one.scores) for one in annotations]
        batch["scores"] = pad_sequence(rows, batch_first=True, padding_value=_NO_SCORE)
    return batch


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    tensors = [torch.tensor(list(row), dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=LABEL_PADDING)
