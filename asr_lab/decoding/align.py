"""Forced alignment of phonemes by CTC (torchaudio's Viterbi)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from asr_lab.errors import AsrLabError
from asr_lab.units import frames_needed

Span = tuple[int, int]
"""First frame, and one past the last frame."""


def align(log_probs_UV: Tensor, tokens: Sequence[int], blank: int) -> list[Span]:
    """Return the frames of each token on the best CTC path of the token sequence, for log probabilities (U, V).

    Equal neighbours (K K) have separate spans. Frames between spans are blanks: CTC models emit a phoneme in few
    frames, so spans give its position, not its duration. Raises `AsrLabError` if there are too few frames.
    """
    check_length(len(log_probs_UV), tokens)
    if not tokens:
        return []
    emissions = log_probs_UV.detach().float().cpu()[None]
    targets = torch.tensor([list(tokens)], dtype=torch.int32)
    path = forced_align(emissions, targets, blank=blank)[0][0]
    labels, lengths = torch.unique_consecutive(path, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    runs = zip(labels.tolist(), lengths.tolist(), ends, strict=True)
    return [(end - length, end) for label, length, end in runs if label != blank]


def check_length(num_frames: int, tokens: Sequence[int]) -> None:
    """Raise `AsrLabError` if the tokens do not fit into the frames."""
    needed = frames_needed(tokens)
    if num_frames < needed:
        raise AsrLabError(
            f"{num_frames} frames are too few for {len(tokens)} phonemes, which need {needed}",
            hint="the audio is truncated, the text belongs to other audio, or the model has fewer frames per second "
            "than phonemes are spoken",
        )
