"""The convolutions that make frames of sound, as matrix products: on a CPU more than twice as fast to train.

transformers keeps channels before frames, so that layer norm and activation run over transposed memory, forward and
back, and each convolution copies its input into yet another layout. Here frames stay before channels in memory, and a
convolution is a product for each half of its kernel, of views that need no copy. Same weights, same names, same
results but for rounding. On a GPU, cuDNN's convolutions stay.

Legend: B utterances, C and D channels in and out, T and U frames in and out.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.modeling_layers import GradientCheckpointingLayer

_STRIDE, _KERNELS = 2, (2, 3)


class FramesFirst(GradientCheckpointingLayer):  # type: ignore[misc]
    """A convolution (B, C, T) -> (B, D, U) with what follows it, each frame's channels side by side in memory."""

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
    """Put `FramesFirst` in the place of those layers whose convolution it knows and whose norm is over channels."""
    for place, layer in enumerate(layers):
        if _known(layer.conv) and isinstance(getattr(layer, "layer_norm", None), nn.LayerNorm | None):
            layers[place] = FramesFirst(layer)


def _known(conv: nn.Conv1d) -> bool:
    plain = conv.padding == (0,) and conv.dilation == (1,) and conv.groups == 1
    halves = conv.stride == (_STRIDE,) and conv.kernel_size[0] in _KERNELS
    return plain and (conv.in_channels == 1 or halves)


def _convolved(conv: nn.Conv1d, x_BCT: Tensor) -> Tensor:
    """What the convolution makes of (B, C, T), as (B, U, D)."""
    (kernel,), (stride,), weight_DCK = conv.kernel_size, conv.stride, conv.weight
    if conv.in_channels == 1:  # of sound, which wants no gradient even where transformers asks for one
        return linear(x_BCT.detach()[:, 0].unfold(1, kernel, stride), weight_DCK[:, 0], conv.bias)
    x_BTC = x_BCT.transpose(1, 2)
    num_frames = (x_BTC.size(1) - kernel) // stride + 1
    pairs = x_BTC[:, : stride * num_frames].reshape(x_BTC.size(0), num_frames, -1)
    h_BUD = linear(pairs, weight_DCK[:, :, :stride].transpose(1, 2).flatten(1), conv.bias)
    if kernel > stride:
        h_BUD = h_BUD + linear(x_BTC[:, stride : stride * num_frames + 1 : stride], weight_DCK[:, :, stride])
    return h_BUD
