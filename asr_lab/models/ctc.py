"""CTC loss (Graves et al. 2006): over padded batches, and over concatenated utterances without padding.

For concatenated utterances only the blank and the labels of the batch enter the recursion; all other classes are
merged into one. The recursion then runs on a few dozen columns instead of V. The results equal those of
`torch.nn.functional.ctc_loss` after `log_softmax`.

Legend: B utterances, N frames of all utterances, V classes, K classes that occur, U frames, L labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


def ctc_loss(logits_BUV: Tensor, lengths_B: Tensor, labels_BL: Tensor, *, blank: int) -> Tensor:
    """Compute the CTC loss per label of each utterance, and return the mean over the batch ().

    Labels are padded by a negative number. An utterance with too few frames for its labels counts 0.
    """
    real_BL = labels_BL >= 0
    log_probs_UBV = logits_BUV.float().log_softmax(dim=-1).transpose(0, 1)
    return nn.functional.ctc_loss(
        log_probs_UBV, labels_BL[real_BL], lengths_B, real_BL.sum(dim=1), blank=blank, zero_infinity=True
    )


class _Folded(torch.autograd.Function):
    """Log-probabilities (N, K + 1) of K classes, and of all others together, under the softmax over all V classes.

    PyTorch's CTC assumes normalised input: its gradient is already that of the logits (softmax minus occupancy), so
    `backward` only distributes it over the V logits.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, classes_K: Tensor) -> Tensor:
        own_NK = logits_NV.index_select(1, classes_K)
        others_N1 = logits_NV.index_fill(1, classes_K, float("-inf")).logsumexp(dim=-1, keepdim=True)
        ctx.save_for_backward(logits_NV, others_N1, classes_K)
        return torch.cat([own_NK, others_N1], dim=-1).log_softmax(dim=-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logits_NV, others_N1, classes_K = ctx.saved_tensors
        own_NK, of_others_N1 = torch.split(gradients[0], [len(classes_K), 1], dim=-1)
        spread_NV = (logits_NV - others_N1).exp_().mul_(of_others_N1)
        return spread_NV.index_copy_(1, classes_K, own_NK.contiguous()), None


def flat_ctc_loss(logits_NV: Tensor, lengths_B: Tensor, labels_BL: Tensor, *, blank: int) -> Tensor:
    """Compute the CTC loss of concatenated utterances per label, and return the mean over the batch ().

    `lengths_B` is the number of frames of each utterance; labels are padded by a negative number. An utterance with
    too few frames for its labels counts 0.
    """
    real_BL = labels_BL >= 0
    used = torch.cat([labels_BL.new_tensor([blank]), labels_BL[real_BL]])
    classes_K, renamed = torch.unique(used, return_inverse=True)
    apply: Any = _Folded.apply
    folded_NK: Tensor = apply(logits_NV.float(), classes_K)
    log_probs_BUK = pad_sequence(list(torch.split(folded_NK, lengths_B.tolist())), batch_first=True)
    return nn.functional.ctc_loss(
        log_probs_BUK.transpose(0, 1),
        renamed[1:],
        lengths_B,
        real_BL.sum(dim=1),
        blank=int(renamed[0]),
        zero_infinity=True,
    )
