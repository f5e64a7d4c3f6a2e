"""Align canonical phonemes with frames, and compute the attention window around each phoneme.

Legend: B utterances, U frames of 20 ms, N canonical phonemes, V classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from asr_lab.decoding.align import align
from asr_lab.units import frames_needed

OUTSIDE = -100
"""Offset of a frame outside the window of a phoneme."""


@torch.no_grad()
def align_spans(logits_BUV: Tensor, lengths_B: Tensor, canonical_BN: Tensor, blank: int) -> Tensor:
    """Compute the (first, last) frame (B, N, 2) of each canonical phoneme by forced alignment.

    `canonical_BN` is padded by negative numbers. An utterance with too few frames is divided evenly.
    """
    spans_BN2 = torch.zeros(*canonical_BN.shape, 2, dtype=torch.long)
    log_probs_BUV = logits_BUV.detach().float().log_softmax(dim=-1).cpu()
    rows = zip(log_probs_BUV, lengths_B.tolist(), canonical_BN.cpu(), strict=True)
    for index, (log_probs_UV, length, padded_N) in enumerate(rows):
        tokens = padded_N[padded_N >= 0].tolist()
        if not tokens:
            continue
        fits = frames_needed(tokens) <= length
        spans = align(log_probs_UV[:length], tokens, blank) if fits else _divide_evenly(length, len(tokens))
        spans_BN2[index, : len(tokens)] = torch.tensor([(start, end - 1) for start, end in spans])
    return spans_BN2.to(logits_BUV.device)


def _divide_evenly(length: int, count: int) -> list[tuple[int, int]]:
    """Return (first frame, frame after the last) of `count` parts of at least one frame."""
    edges = [index * length // count for index in range(count + 1)]
    return [(min(start, length - 1), min(max(end, start + 1), length)) for start, end in pairwise(edges)]


def frame_offsets(spans_BN2: Tensor, num_frames: int, window: int) -> Tensor:
    """Compute the offset (B, N, U) of each frame from each span: 0 within, -1, -2, ... before, 1, 2, ... after it.

    Frames more than `window` away are `OUTSIDE`.
    """
    frames_U = torch.arange(num_frames, device=spans_BN2.device)
    first_BN1, last_BN1 = spans_BN2[..., :1], spans_BN2[..., 1:]
    offsets_BNU = (frames_U - first_BN1).clamp_max(0) + (frames_U - last_BN1).clamp_min(0)
    return offsets_BNU.masked_fill(offsets_BNU.abs() > window, OUTSIDE)
