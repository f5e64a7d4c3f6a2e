"""The adapter network, in two forms.

*Plain*, as in older systems: the MLP replaces the base model's output layer. *Residual*: the output of the MLP is added
to the base model's logits; its last layer is initialised to zero, so that an untrained adapter equals its base
(residual adapters: Tomanek et al. 2021, arXiv:2109.06952; near-identity initialisation: Houlsby et al. 2019,
arXiv:1902.00751).

Legend: B utterances, U frames, N frames of all utterances of a batch, H encoder output size, V classes, L labels.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr_lab.models.ctc import flat_ctc_loss


class AdapterOutput(NamedTuple):
    """`loss` () and `logits`: log-probabilities (..., V)."""

    loss: Tensor | None = None
    logits: Tensor | None = None


class MLPAdapter(nn.Module):
    """`Linear - ReLU - Dropout` per hidden layer, then `Linear - LogSoftmax`: encoder outputs (..., H) -> (..., V)."""

    accepts_loss_kwargs = False

    def __init__(
        self,
        input_dim: int,
        hidden_dims: tuple[int, ...],
        output_dim: int,
        *,
        dropout: float = 0.1,
        blank: int = 0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.input_dim, self.hidden_dims, self.output_dim = input_dim, tuple(hidden_dims), output_dim
        self.blank, self.residual = blank, residual
        layers: list[nn.Module] = []
        for width, next_width in itertools.pairwise((input_dim, *hidden_dims)):
            layers += [nn.Linear(width, next_width), nn.ReLU(), nn.Dropout(dropout)]
        last = nn.Linear(hidden_dims[-1], output_dim)
        if residual:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last, nn.LogSoftmax(dim=-1))

    def forward(
        self,
        frames: Tensor,
        base_logits: Tensor | None = None,
        frame_lengths: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> AdapterOutput:
        """Compute log-probabilities (..., V) of encoder outputs (..., H); the residual form adds `base_logits`.

        In training, `frames` (N, H) are those of all utterances concatenated, without padding; with `frame_lengths`
        (B,) and `labels` (B, L), padded by -100, return the CTC loss instead of log-probabilities.
        """
        logits = self.added_logits(frames)
        if self.residual:
            assert base_logits is not None, "a residual adapter needs the logits of its base"
            logits = logits + base_logits
        if labels is None or frame_lengths is None:
            return AdapterOutput(logits=self.layers[-1](logits))
        return AdapterOutput(loss=flat_ctc_loss(logits, frame_lengths, labels, blank=self.blank))

    def added_logits(self, frames: Tensor) -> Tensor:
        """Compute the MLP's output (..., V) before the softmax; the residual form adds it to the base's logits."""
        logits: Tensor = self.layers[:-1](frames)
        return logits

    @torch.no_grad()
    def scale_output(self, scale: float) -> None:
        """Scale the output of a residual adapter by scaling the weights of its last, linear layer."""
        assert self.residual
        last = self.layers[-2]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(scale)
        last.bias.mul_(scale)

    def freeze(self) -> None:
        """Freeze all parameters."""
        self.requires_grad_(False)

    def unfreeze(self) -> None:
        """Make all parameters trainable."""
        self.requires_grad_(True)


class Distillation(nn.Module):
    """Distils the base model into an adapter; the loss is the mean over frames of KL(base || adapter).

    Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531) at temperature 1; needs no transcripts.
    """

    accepts_loss_kwargs = False

    def __init__(self, adapter: MLPAdapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, frames: Tensor, base_logits: Tensor, **_: Tensor) -> AdapterOutput:
        """Compute the loss () of encoder outputs (N, H) with base logits (N, V)."""
        own, wanted = self.adapter(frames).logits, base_logits.log_softmax(dim=-1)
        return AdapterOutput(loss=nn.functional.kl_div(own, wanted, log_target=True, reduction="batchmean"))


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 (32 hexadecimal digits) of all parameters and buffers with their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def weight_faults(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Describe how weights by name differ from those wanted: missing, unknown, or of another shape."""
    faults = [f"{name} is missing" for name in wanted if name not in weights]
    faults += [f"{name} is unknown" for name in weights if name not in wanted]
    return faults + [
        f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]


def vocabulary_digest(units: list[str]) -> str:
    """Return the SHA-256 (32 hexadecimal digits) of the units in class order."""
    return hashlib.sha256("\n".join(units).encode()).hexdigest()[:32]
