"""The losses of the tasks, weighed: fixed, or by uncertainty that is learned (Kendall et al. 2018, arXiv:1705.07115).

Each is a mean over utterances of a mean over what the utterance has, as CTC's is, so that accumulated batches make
the gradient of the large one. Legend: B utterances, N canonical phonemes, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asr_lab.config.schema import PronunciationLoss

TASKS = ("phonemes", "errors", "diagnosis", "scores")


class WeightedSum(nn.Module):
    """Losses of tasks -> one; a task of weight 0 does not count."""

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
    """The mean over utterances of the mean over their real values; an utterance that has none counts 0."""
    sums_B = torch.where(real_BN, values_BN, 0.0).sum(dim=1)
    return (sums_B / real_BN.sum(dim=1).clamp_min(1)).mean()


def error_loss(logits_BN: Tensor, errors_BN: Tensor, settings: PronunciationLoss) -> Tensor:
    """Binary cross-entropy of errors (0 or 1, padded by negative numbers), weighed as the settings say."""
    real_BN = errors_BN >= 0
    target_BN = errors_BN.clamp_min(0).to(torch.float32)
    weight = torch.tensor(settings.error_weight, device=logits_BN.device) if settings.balance == "class" else None
    losses_BN = nn.functional.binary_cross_entropy_with_logits(
        logits_BN.float(), target_BN, pos_weight=weight, reduction="none"
    )
    if settings.balance == "focal":
        sure_BN = torch.exp(-losses_BN)  # the probability of what is true
        losses_BN = losses_BN * (1 - sure_BN) ** settings.focal_gamma
    return mean_of_utterances(losses_BN, real_BN)


def diagnosis_loss(logits_BNK: Tensor, said_BN: Tensor) -> Tensor:
    """Cross-entropy of what was said in the place of each phoneme (padded by negative numbers)."""
    losses_BN = nn.functional.cross_entropy(logits_BNK.float().transpose(1, 2), said_BN.clamp_min(0), reduction="none")
    return mean_of_utterances(losses_BN, said_BN >= 0)


def score_loss(predicted_BN: Tensor, scores_BN: Tensor) -> Tensor:
    """Squared error of scores of 0 to 2 (padded by negative numbers)."""
    return mean_of_utterances((predicted_BN.float() - scores_BN).square(), scores_BN >= 0)
