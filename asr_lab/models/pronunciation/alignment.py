"""Where each canonical phoneme lies in the frames, and which frames its judgement may look at.

Legend: B utterances, U frames of 20 ms, N canonical phonemes, V classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from asr_lab.decoding.align import align
from asr_lab.units import frames_needed

OUTSIDE = -100
"""Place of a frame that a phoneme may not look at."""


@torch.no_grad()
def spans_of(logits_BUV: Tensor, lengths_B: Tensor, canonical_BN: Tensor, blank: int) -> Tensor:
    """(first, last) frame (B, N, 2) of each canonical phoneme (padded by negative numbers) by forced alignment.

    An utterance with fewer frames than its phonemes need is cut evenly.
    """
    spans_BN2 = torch.zeros(*canonical_BN.shape, 2, dtype=torch.long)
    log_probs_BUV = logits_BUV.detach().float().log_softmax(dim=-1).cpu()
    rows = zip(log_probs_BUV, lengths_B.tolist(), canonical_BN.cpu(), strict=True)
    for place, (log_probs_UV, length, padded_N) in enumerate(rows):
        tokens = padded_N[padded_N >= 0].tolist()
        if not tokens:
            continue
        fits = frames_needed(tokens) <= length
        found = align(log_probs_UV[:length], tokens, blank) if fits else _even(length, len(tokens))
        spans_BN2[place, : len(tokens)] = torch.tensor([(start, end - 1) for start, end in found])
    return spans_BN2.to(logits_BUV.device)


def _even(length: int, count: int) -> list[tuple[int, int]]:
    """(First frame, the frame behind the last one) of so many parts, each of one frame at least."""
    edges = [place * length // count for place in range(count + 1)]
    return [(min(start, length - 1), min(max(end, start + 1), length)) for start, end in pairwise(edges)]


def places_of(spans_BN2: Tensor, num_frames: int, window: int) -> Tensor:
    """Place (B, N, U) of each frame by a phoneme's span: 0 within, -1, -2, ... before it, 1, 2, ... behind it.

    Frames more than `window` away are `OUTSIDE`.
    """
    frames_U = torch.arange(num_frames, device=spans_BN2.device)
    first_BN1, last_BN1 = spans_BN2[..., :1], spans_BN2[..., 1:]
    places_BNU = (frames_U - first_BN1).clamp_max(0) + (frames_U - last_BN1).clamp_min(0)
    return places_BNU.masked_fill(places_BNU.abs() > window, OUTSIDE)
