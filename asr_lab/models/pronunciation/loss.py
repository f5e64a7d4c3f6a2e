"""Losses of the tasks and their weighted sum: fixed, or by learned uncertainty (Kendall et al. 2018, arXiv:1705.07115).

Each loss is a mean over utterances of a mean within the utterance, as for CTC, so that accumulated batches have the
gradient of one large batch. Legend: B utterances, N canonical phonemes, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asr_lab.config.schema import PronunciationLoss

TASKS = ("phonemes", "errors", "diagnosis", "scores")


class WeightedSum(nn.Module):
    """Weighted sum of the losses of the tasks; tasks of weight 0 are ignored."""

    def __init__(self, settings: PronunciationLoss) -> None:
        super().__init__()
        self.weights = {task: float(getattr(settings, task)) for task in TASKS}
        self.log_variance = nn.Parameter(torch.zeros(len(TASKS))) if settings.weights == "uncertainty" else None

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for place, task in enumerate(TASKS):
            if task in losses and self.weights[task]:
                part = self.weights[task] * losses[task]
                if self.log_variance is not None:
                    part = torch.exp(-self.log_variance[place]) * part + 0.5 * self.log_variance[place]
                parts.append(part)
        return torch.stack(parts).sum()


def mean_of_utterances(values_BN: Tensor, real_BN: Tensor) -> Tensor:
    """Return the mean over utterances of the mean over their real values; an utterance without any counts 0."""
    sums_B = torch.where(real_BN, values_BN, 0.0).sum(dim=1)
    return (sums_B / real_BN.sum(dim=1).clamp_min(1)).mean()


def error_loss(logits_BN: Tensor, errors_BN: Tensor, settings: PronunciationLoss) -> Tensor:
    """Compute the weighted binary cross-entropy of errors (0 or 1, padded by negative numbers)."""
    real_BN = errors_BN >= 0
    target_BN = errors_BN.clamp_min(0).to(torch.float32)
    weight = torch.tensor(settings.error_weight, device=logits_BN.device) if settings.balance == "class" else None
    losses_BN = nn.functional.binary_cross_entropy_with_logits(
        logits_BN.float(), target_BN, pos_weight=weight, reduction="none"
    )
    if settings.balance == "focal":
        probability_BN = torch.exp(-losses_BN)  # of the target
        losses_BN = losses_BN * (1 - probability_BN) ** settings.focal_gamma
    return mean_of_utterances(losses_BN, real_BN)


def diagnosis_loss(logits_BNK: Tensor, spoken_BN: Tensor) -> Tensor:
    """Compute the cross-entropy of the phonemes spoken instead of the canonical ones (padded by negative numbers)."""
    targets_BN = spoken_BN.clamp_min(0)
    losses_BN = nn.functional.cross_entropy(logits_BNK.float().transpose(1, 2), targets_BN, reduction="none")
    return mean_of_utterances(losses_BN, spoken_BN >= 0)


def score_loss(predicted_BN: Tensor, scores_BN: Tensor) -> Tensor:
    """Compute the squared error of scores of 0 to 2 (padded by negative numbers)."""
    return mean_of_utterances((predicted_BN.float() - scores_BN).square(), scores_BN >= 0)
