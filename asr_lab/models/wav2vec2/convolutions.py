"""The convolutions of the feature extractor as matrix products: more than twice as fast to train on CPU.

In transformers channels come before frames, so that layer norm and activation run over transposed memory, forward and
backward, and each convolution copies its input into another layout. Here frames come before channels, and a
convolution is one product for each half of its kernel, on views without copies. Weights and their names are the same,
results equal up to rounding. On a GPU, cuDNN's convolutions are used.

Legend: B utterances, C and D channels in and out, T and U frames in and out.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.modeling_layers import GradientCheckpointingLayer

_STRIDE, _KERNELS = 2, (2, 3)


class FramesFirst(GradientCheckpointingLayer):  # type: ignore[misc]
    """A convolution (B, C, T) -> (B, D, U) with norm and activation; the channels of a frame are contiguous."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.conv, self.activation = layer.conv, layer.activation
        if (norm := getattr(layer, "layer_norm", None)) is not None:
            self.layer_norm = norm

    def forward(self, x_BCT: Tensor) -> Tensor:
        h_BUD = self.conv(x_BCT).transpose(1, 2) if x_BCT.is_cuda else _convolved(self.conv, x_BCT)
        if hasattr(self, "layer_norm"):
            h_BUD = self.layer_norm(h_BUD)
        activated: Tensor = self.activation(h_BUD)
        return activated.transpose(1, 2)


def frames_first(layers: Any) -> None:
    """Replace layers by `FramesFirst` if their convolution is supported and their norm is over channels."""
    for index, layer in enumerate(layers):
        if _is_supported(layer.conv) and isinstance(getattr(layer, "layer_norm", None), nn.LayerNorm | None):
            layers[index] = FramesFirst(layer)


def _is_supported(conv: nn.Conv1d) -> bool:
    plain = conv.padding == (0,) and conv.dilation == (1,) and conv.groups == 1
    halves = conv.stride == (_STRIDE,) and conv.kernel_size[0] in _KERNELS
    return plain and (conv.in_channels == 1 or halves)


def _convolved(conv: nn.Conv1d, x_BCT: Tensor) -> Tensor:
    """Apply the convolution to (B, C, T); return (B, U, D)."""
    (kernel,), (stride,), weight_DCK = conv.kernel_size, conv.stride, conv.weight
    if conv.in_channels == 1:  # the signal needs no gradient, even if transformers requests one
        return linear(x_BCT.detach()[:, 0].unfold(1, kernel, stride), weight_DCK[:, 0], conv.bias)
    x_BTC = x_BCT.transpose(1, 2)
    num_frames = (x_BTC.size(1) - kernel) // stride + 1
    pairs = x_BTC[:, : stride * num_frames].reshape(x_BTC.size(0), num_frames, -1)
    h_BUD = linear(pairs, weight_DCK[:, :, :stride].transpose(1, 2).flatten(1), conv.bias)
    if kernel > stride:
        h_BUD = h_BUD + linear(x_BTC[:, stride : stride * num_frames + 1 : stride], weight_DCK[:, :, stride])
    return h_BUD
