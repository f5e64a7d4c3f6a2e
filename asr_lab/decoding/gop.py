"""Goodness of pronunciation (GOP): likelihood of alternatives to each canonical phoneme, without training.

All scores are error scores: at least 0, higher is more likely mispronounced.

- aligned: Witt & Young 2000, "Phone-level pronunciation scoring and assessment for interactive language learning", in
  the posterior form of Hu et al. 2015: the mean, over the aligned frames of the phoneme, of the log posterior of the
  best class minus that of the phoneme. The blank is one of the classes, so a deleted phoneme scores below it.
- free: without alignment: the negative log of the CTC likelihood of the canonical sequence, relative to the sum over
  all substitutions and the deletion of this phoneme, as in Cao et al. 2024, "A Framework for Phoneme-Level
  Pronunciation Assessment Using CTC" (and frank613/CTC-based-GOP).

Shapes: `B` utterances, `U` frames, `N` phonemes, `V` classes with the blank, `S` = 2 N + 1 states, blanks between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from asr_lab.decoding.align import align, check_length

Method = Literal["free", "aligned"]
_LOG_ZERO = float("-inf")
_LEAST = -20.0  # lower bound of log probabilities
_FRAMES_AT_ONCE = 32  # 32 * 20 = 640: exp() does not overflow in 64 bits


def gop(log_probs_UV: Tensor, canonical: Sequence[int], blank: int, method: Method = "free") -> Tensor:
    """Return the error score (N,) of each canonical phoneme of an utterance; `gop_batch` is faster for many."""
    return gop_batch(log_probs_UV[None], torch.tensor([len(log_probs_UV)]), [canonical], blank, method)[0]


def gop_batch(
    log_probs_BUV: Tensor,
    lengths_B: Tensor,
    canonical: Sequence[Sequence[int]],
    blank: int,
    method: Method = "free",
) -> list[Tensor]:
    """Return the error scores (N,) of each utterance of a padded batch.

    Raises `AsrLabError` if an utterance has fewer frames than its phonemes need.
    """
    if method == "aligned":
        rows = zip(log_probs_BUV, lengths_B.tolist(), canonical, strict=True)
        return [_aligned(row[: int(length)], own, blank) for row, length, own in rows]
    posteriors = substitutes(log_probs_BUV, lengths_B, canonical, blank)
    return [of_posteriors(own, tokens) for own, tokens in zip(posteriors, canonical, strict=True)]


def of_posteriors(log_posteriors_NV: Tensor, canonical: Sequence[int]) -> Tensor:
    """Return the free error scores (N,) from the log posteriors of `substitutes`."""
    indices = torch.as_tensor(list(canonical), dtype=torch.int64, device=log_posteriors_NV.device)
    return (-log_posteriors_NV.gather(1, indices[:, None])[:, 0]).clamp(min=0).float()


def _aligned(log_probs_UV: Tensor, canonical: Sequence[int], blank: int) -> Tensor:
    losses_UV = log_probs_UV.max(dim=1, keepdim=True).values - log_probs_UV
    spans = align(log_probs_UV, canonical, blank)
    means = [losses_UV[start:end, token].mean() for token, (start, end) in zip(canonical, spans, strict=True)]
    return torch.stack(means).float() if means else torch.zeros(0)


@torch.no_grad()
def substitutes(
    log_probs_BUV: Tensor, lengths_B: Tensor, canonical: Sequence[Sequence[int]], blank: int
) -> list[Tensor]:
    """Return, per utterance, log posteriors (N, V) of each class in place of each canonical phoneme.

    The other phonemes are canonical. The class `blank` means deletion. The prior over the V classes is uniform. The
    best class is the diagnosis.
    """
    lengths = [int(length) for length in lengths_B.tolist()]
    for length, own in zip(lengths, canonical, strict=True):
        check_length(length, own)
    emissions = log_probs_BUV.detach().double().clamp(min=_LEAST)
    probs = [emissions[index, :length] for index, length in enumerate(lengths)]
    tokens = [torch.tensor(list(own), dtype=torch.int64, device=emissions.device) for own in canonical]
    before = _prefixes(probs, tokens, blank)
    after = _prefixes([own.flip(0) for own in probs], [own.flip(0) for own in tokens], blank)
    sides = zip(probs, tokens, before, after, strict=True)
    return [_substituted(own, labels, left, right.flip(0, 1), blank) for own, labels, left, right in sides]


def _prefixes(probs: Sequence[Tensor], tokens: Sequence[Tensor], blank: int) -> list[Tensor]:
    """Return the CTC log forward variable (U, S) of each utterance: of being in state s after frame u.

    With frames and tokens reversed it is the reversed backward variable.
    """
    states = []
    for own in tokens:
        labels_S = own.new_full((2 * len(own) + 1,), blank)
        labels_S[1::2] = own
        states.append(labels_S)
    labels_BS = pad_sequence(states, batch_first=True, padding_value=blank)
    padded_UBV = pad_sequence(list(probs))
    index_UBS = labels_BS.expand(len(padded_UBV), -1, -1)
    emitted_UBS = padded_UBV.gather(2, index_UBS)
    skips_BS = (labels_BS != blank) & (labels_BS != pad(labels_BS[:, :-2], (2, 0), value=blank))
    no_skip_BS = torch.where(skips_BS, 0.0, _LOG_ZERO).to(emitted_UBS.dtype)
    reached_BS = torch.full_like(emitted_UBS[0], _LOG_ZERO)
    reached_BS[:, :2] = emitted_UBS[0, :, :2]
    states_by_frame = [reached_BS]
    for emitted_BS in emitted_UBS[1:]:
        stepped = pad(reached_BS, (1, 0), value=_LOG_ZERO)[:, :-1]
        skipped = pad(reached_BS, (2, 0), value=_LOG_ZERO)[:, :-2] + no_skip_BS
        reached_BS = torch.logaddexp(torch.logaddexp(reached_BS, stepped), skipped) + emitted_BS
        states_by_frame.append(reached_BS)
    forward_UBS = torch.stack(states_by_frame)
    sizes = [(len(own), len(labels)) for own, labels in zip(probs, states, strict=True)]
    return [forward_UBS[:frames, index, :width] for index, (frames, width) in enumerate(sizes)]


def _substituted(log_probs_UV: Tensor, tokens_N: Tensor, left_US: Tensor, right_US: Tensor, blank: int) -> Tensor:
    """Return (N, V) of `substitutes` for one utterance, from its forward and backward variables.

    A path leaves the label before phoneme n, or the blank after it, stays in class v for a run of frames, and continues
    after phoneme n. With y(u) the log probability of v summed up to frame u, runs that end in u have the weight
    exp(y(u)) times the sum over their starts s of entered(s) exp(-y(s - 1)): a cumulative sum.
    """
    num_phonemes, num_classes = len(tokens_N), log_probs_UV.shape[1]
    if not num_phonemes:
        return log_probs_UV.new_zeros((0, num_classes))
    never_U1 = left_US.new_full((len(left_US), 1), _LOG_ZERO)
    label_before_UN = torch.cat([never_U1, left_US[:, 1:-2:2]], dim=1)
    label_after_UN = torch.cat([right_US[:, 3::2], never_U1], dim=1)
    blank_before_UN, blank_after_UN = left_US[:, :-1:2], right_US[:, 2::2]

    first_N, last_N = (torch.full_like(left_US[0, :num_phonemes], _LOG_ZERO) for _ in range(2))
    first_N[0], last_N[-1] = 0.0, 0.0  # nothing precedes the first, nothing follows the last
    blank_before_UN = torch.cat([first_N[None], blank_before_UN])  # by frame u: done with what is before u
    label_before_UN = torch.cat([torch.full_like(first_N, _LOG_ZERO)[None], label_before_UN])
    blank_after_UN = torch.cat([blank_after_UN, last_N[None]])  # by frame u: what is from u on
    label_after_UN = torch.cat([label_after_UN, torch.full_like(first_N, _LOG_ZERO)[None]])

    apart_NN = _apart(tokens_N)
    deleted_N = torch.logaddexp(
        torch.logsumexp(torch.logaddexp(blank_before_UN, label_before_UN + apart_NN) + label_after_UN, dim=0),
        torch.logaddexp(blank_before_UN[-1], label_before_UN[-1]) + last_N,
    )
    entered_UNV = _routes(
        blank_before_UN[:-1], label_before_UN[:-1], pad(tokens_N[:-1], (1, 0), value=blank), num_classes
    )
    left_UNV = _routes(blank_after_UN[1:], label_after_UN[1:], pad(tokens_N[1:], (0, 1), value=blank), num_classes)
    summed_UV = log_probs_UV.cumsum(dim=0)
    started_UNV = _log_cumsum(entered_UNV - (summed_UV - log_probs_UV)[:, None, :])
    log_probs_NV = torch.logsumexp(started_UNV + summed_UV[:, None, :] + left_UNV, dim=0)
    log_probs_NV[:, blank] = deleted_N
    return log_probs_NV.log_softmax(dim=1)


def _routes(blank_UN: Tensor, label_UN: Tensor, neighbours_N: Tensor, num_classes: int) -> Tensor:
    """Return (U, N, V): paths into (out of) each class from the blank or the neighbouring label, if it differs."""
    routes_UNV = torch.logaddexp(blank_UN, label_UN)[:, :, None].repeat(1, 1, num_classes)
    routes_UNV[:, torch.arange(len(neighbours_N)), neighbours_N] = blank_UN
    return routes_UNV


def _log_cumsum(values_UNV: Tensor) -> Tensor:
    """Compute `torch.logcumsumexp` over frames three times as fast, in chunks scaled by their maximum."""
    carried_NV = torch.full_like(values_UNV[0], _LOG_ZERO)
    parts = []
    for part_UNV in torch.split(values_UNV, _FRAMES_AT_ONCE):
        top_NV = torch.maximum(part_UNV.amax(dim=0), carried_NV).clamp(min=-1e9)
        sums_UNV = (part_UNV - top_NV).exp_().cumsum(dim=0).add_((carried_NV - top_NV).exp()).log_().add_(top_NV)
        parts.append(sums_UNV)
        carried_NV = sums_UNV[-1]
    return torch.cat(parts)


def _apart(tokens_N: Tensor) -> Tensor:
    """Return (N,): 0, or -inf where the neighbours of a phoneme are equal, so that its deletion needs a blank."""
    before_N, after_N = pad(tokens_N[:-1], (1, 0), value=-1), pad(tokens_N[1:], (0, 1), value=-2)
    equal_N = before_N == after_N
    return torch.zeros(equal_N.shape, dtype=torch.float64, device=equal_N.device).masked_fill(equal_N, _LOG_ZERO)
