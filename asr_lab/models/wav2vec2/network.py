"""CTC training of transformers' wav2vec2 family (Baevski et al. 2020, arXiv:2006.11477).

Wraps the transformers model, which is saved unchanged, and replaces three parts: the loss is per label (so that
accumulated batches of equal size have the gradient of one large batch; the utterances of a smaller last batch weigh
more), our own masks replace the model's SpecAugment, and group norms ignore padding.

Legend: B utterances, N samples, U frames of 20 ms, C channels, V classes, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.utils import ModelOutput

from asr_lab.models.ctc import ctc_loss
from asr_lab.models.wav2vec2.convolutions import by_spectra, frames_first
from asr_lab.models.wav2vec2.frame_counts import num_frames


@dataclass
class SpeechOutput(ModelOutput):  # type: ignore[misc]
    """`loss` (), mean over utterances of the CTC loss per label; `logits` (B, U, V); `logit_lengths` (B,)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    logit_lengths: Tensor | None = None


class UnpaddedGroupNorm(nn.GroupNorm):
    """A group norm over the real frames of each utterance, with the weight names of the norm it replaces.

    Including padded frames would change all outputs.
    """

    lengths: list[int] | None = None
    """Number of frames of each utterance of the batch."""

    @classmethod
    def of(cls, norm: nn.GroupNorm) -> UnpaddedGroupNorm:
        own = cls(norm.num_groups, norm.num_channels, norm.eps)
        own.weight, own.bias = norm.weight, norm.bias
        return own

    def forward(self, x_BCU: Tensor) -> Tensor:
        longest = x_BCU.size(-1)
        if self.lengths is None or all(length == longest for length in self.lengths):
            return super().forward(x_BCU)
        rows = [
            super(UnpaddedGroupNorm, self).forward(x[None, :, :n]) for x, n in zip(x_BCU, self.lengths, strict=True)
        ]
        return torch.cat([pad(row, (0, longest - row.size(-1))) for row in rows])


class BatchMasking:
    """Applies our masks to an encoder's padded batches, and makes its norms ignore padding."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self._masks: tuple[Tensor, Tensor] | None = None
        encoder.feature_projection.register_forward_hook(self._mask)
        front = encoder.feature_extractor
        self._norms: list[Any] = [front] if hasattr(front, "lengths") else []
        """Modules that need the number of frames of each utterance after the first convolution or the filter bank."""
        first = next(iter(getattr(front, "conv_layers", ())), None)
        frames_first(getattr(front, "conv_layers", []))
        by_spectra(encoder.encoder.pos_conv_embed.conv)
        if first is not None and isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            first.layer_norm = UnpaddedGroupNorm.of(first.layer_norm)
            self._norms = [first.layer_norm]

    @contextmanager
    def batch(self, samples_B: Tensor, time_mask: Tensor | None, channel_mask: Tensor | None) -> Iterator[Tensor]:
        """Set lengths and masks for one forward pass; yield the lengths in frames (B,)."""
        config = self.encoder.config
        for norm in self._norms:
            norm.lengths = num_frames(samples_B, config.conv_kernel[:1], config.conv_stride[:1]).tolist()
        self._masks = (time_mask, channel_mask) if time_mask is not None and channel_mask is not None else None
        yield num_frames(samples_B, config.conv_kernel, config.conv_stride)
        if not torch.is_grad_enabled():  # else gradient checkpointing may recompute activations in backward
            for norm in self._norms:
                norm.lengths = None

    def _mask(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Replace masked frames by the base's mask embedding (0 if it has none), and masked channels by 0."""
        if self._masks is None:
            return None
        time_BU, channel_BC = self._masks
        hidden_BUC = output[0] if isinstance(output, tuple) else output
        hidden = getattr(self.encoder, "masked_spec_embed", hidden_BUC.new_zeros(1)).to(hidden_BUC.dtype)
        masked_BUC = torch.where(time_BU[:, :, None], hidden, hidden_BUC).masked_fill(channel_BC[:, None, :], 0.0)
        return (masked_BUC, *output[1:]) if isinstance(output, tuple) else masked_BUC


def freeze_batch_norms(model: nn.Module) -> None:
    """Freeze the statistics of frozen batch norms (HuBERT's positional embedding has one)."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not part.weight.requires_grad:
            part.eval()


def encoder_of(network: Any) -> Any:
    """Return the encoder of a `*ForCTC`: everything below the head."""
    return getattr(network, network.base_model_prefix)


def is_adapted(network: Any) -> bool:
    """Return whether peft wraps a network, without importing peft, so that short commands start sooner."""
    return type(network).__module__.partition(".")[0] == "peft"


class SpeechCTC(nn.Module):
    """Computes logits and loss of `network`, a `*ForCTC` of transformers or its `PeftModel`."""

    accepts_loss_kwargs = False  # the loss does not use Trainer's num_items_in_batch

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.masking = BatchMasking(self.encoder)
        self.register_state_dict_post_hook(_without_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_frozen_are_there)  # type: ignore[no-untyped-call]

    @property
    def plain(self) -> Any:
        """The transformers model, without the wrapper of peft."""
        return self.network.get_base_model() if is_adapted(self.network) else self.network

    @property
    def encoder(self) -> Any:
        """Everything below the head."""
        return encoder_of(self.plain)

    @property
    def config(self) -> Any:
        return self.plain.config

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        freeze_batch_norms(self)
        return self

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        time_mask: Tensor | None = None,
        channel_mask: Tensor | None = None,
        adapter_names: Sequence[str] | None = None,
    ) -> SpeechOutput:
        """Compute logits (B, U, V) of samples (B, N), and the CTC loss given labels (B, L), padded by -100.

        Frames (B, U) and channels (B, C) are masked where `time_mask` and `channel_mask` are true. `adapter_names`:
        peft's, one for each row.
        """
        of_rows = {"adapter_names": list(adapter_names)} if adapter_names else {}
        with self.masking.batch(attention_mask.sum(dim=-1), time_mask, channel_mask) as lengths_B:
            logits_BUV = self.network(input_values, attention_mask=attention_mask, **of_rows).logits
        loss = None
        if labels is not None:
            loss = ctc_loss(logits_BUV, lengths_B, labels, blank=int(self.config.pad_token_id))
        return SpeechOutput(loss=loss, logits=logits_BUV, logit_lengths=lengths_B)


def _frozen(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if not parameter.requires_grad}


def _without_frozen(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    """Remove frozen weights from a checkpoint; they are those of the base."""
    for name in _frozen(module):
        state.pop(prefix + name, None)


def _frozen_are_there(module: nn.Module, incompatible: Any) -> None:
    missing = incompatible.missing_keys
    missing[:] = sorted(set(missing) - _frozen(module))
