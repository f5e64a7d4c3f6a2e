"""The adapter's network, in two forms.

*Plain*, as older systems have it: the MLP stands in the place of the base's output layer. *Residual*: what the MLP
says is added to the base's own logits; its last layer starts at zero, so an adapter that has learned nothing yet is
exactly its base (residual adapters: Tomanek et al. 2021, arXiv:2109.06952; zero start: Houlsby et al. 2019,
arXiv:1902.00751, near-identity initialisation).

Legend: B utterances, U frames, N = frames of all utterances of a batch in one row, H base output, V classes, L labels.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from asr_lab.models.ctc import flat_ctc_loss


@dataclass
class AdapterOutput(ModelOutput):  # type: ignore[misc]
    """`loss` () and `logits`: log-probabilities (..., V)."""

    loss: Tensor | None = None
    logits: Tensor | None = None


class MLPAdapter(nn.Module):
    """`Linear - ReLU - Dropout` for each hidden layer, then `Linear - LogSoftmax`: frames (..., H) -> (..., V)."""

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
        """Log-probabilities (..., V) of frames (..., H); the residual form adds to `base_logits` (..., V).

        In training the frames are those of all utterances in one row (N, H), so that no padding is computed; with
        their lengths (B,) and labels (B, L), padded by -100, the CTC loss comes instead of log-probabilities.
        """
        logits = self.before_softmax(frames)
        if self.residual:
            assert base_logits is not None, "a residual adapter adds to its base's logits"
            logits = logits + base_logits
        if labels is None or frame_lengths is None:
            return AdapterOutput(logits=self.layers[-1](logits))
        return AdapterOutput(loss=flat_ctc_loss(logits, frame_lengths, labels, blank=self.blank))

    def before_softmax(self, frames: Tensor) -> Tensor:
        """What the MLP says (..., V) of frames (..., H); the residual form adds it to the base's logits."""
        said: Tensor = self.layers[:-1](frames)
        return said

    @torch.no_grad()
    def weaken(self, strength: float) -> None:
        """Let a residual adapter add only this share of what it says: its last layer is linear, so it is scaled."""
        assert self.residual
        last = self.layers[-2]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(strength)
        last.bias.mul_(strength)

    def freeze(self) -> None:
        """No parameter learns."""
        self.requires_grad_(False)

    def unfreeze(self) -> None:
        """Every parameter learns again."""
        self.requires_grad_(True)


class Imitation(nn.Module):
    """Lets an adapter learn to say what its base says: the mean over frames of KL(base || adapter).

    Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531) at temperature 1; no transcript is needed.
    """

    accepts_loss_kwargs = False

    def __init__(self, adapter: MLPAdapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, frames: Tensor, base_logits: Tensor, **_: Tensor) -> AdapterOutput:
        """The loss () of frames (N, H) whose base logits are (N, V)."""
        own, wanted = self.adapter(frames).logits, base_logits.log_softmax(dim=-1)
        return AdapterOutput(loss=nn.functional.kl_div(own, wanted, log_target=True, reduction="batchmean"))


def weights_digest(module: nn.Module) -> str:
    """SHA-256 (32 hexadecimal digits) of every parameter and buffer, by name: the same before and after adapting."""
    whole = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()[:32]


def vocabulary_digest(units: list[str]) -> str:
    """SHA-256 (32 hexadecimal digits) of the classes in their order."""
    return hashlib.sha256("\n".join(units).encode()).hexdigest()[:32]
