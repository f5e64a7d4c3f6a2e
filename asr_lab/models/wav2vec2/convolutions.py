"""The convolutions of wav2vec2 in forms that suit a CPU: more than twice as fast to train there.

Those of the feature extractor are matrix products. In transformers channels come before frames, so that layer norm
and activation run over transposed memory, forward and backward, and each convolution copies its input into another
layout. Here frames come before channels, and a convolution is one product for each half of its kernel, on views without
copies. That of the positions, 128 frames wide, is a product of spectra where its groups are small. Weights and their
names are the same, results equal up to rounding. On a GPU, cuDNN's convolutions are used.

Legend: B utterances, C and D channels in and out, T and U frames in and out, K kernel, G groups, W frequencies.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.nn.functional import conv1d, linear, pad
from transformers.modeling_layers import GradientCheckpointingLayer

_STRIDE, _KERNELS = 2, (2, 3)
_METHOD = "_conv_forward"
_FEW_CHANNELS = 16
"""Channels of a group up to which spectra are faster: four times with 12, not with 48."""


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
    apply: Any = _Halves.apply
    h_BUD: Tensor = apply(x_BCT.transpose(1, 2), weight_DCK, conv.bias)
    return h_BUD


class _Halves(torch.autograd.Function):
    """A convolution of stride 2 and kernel 2 or 3 (K): a product for the first two of its frames, one for the third.

    Left to PyTorch, the gradient of each view of the input would be written into zeros of the size of the input.
    """

    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x_BTC: Tensor, weight_DCK: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_BTC, weight_DCK)
        h_BUD = None
        for part_BUC, weight_DC in zip(_views(x_BTC, weight_DCK), _parts(weight_DCK), strict=True):
            product_BUD = linear(part_BUC, weight_DC, bias if h_BUD is None else None)
            h_BUD = product_BUD if h_BUD is None else h_BUD.add_(product_BUD)
        assert h_BUD is not None
        return h_BUD

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x_BTC, weight_DCK), of_h_BUD = ctx.saved_tensors, gradients[0]
        of_x = of_weight = None
        weights = _parts(weight_DCK)
        if ctx.needs_input_grad[0]:
            of_x = x_BTC.new_empty(x_BTC.shape)
            of_x[:, _STRIDE * of_h_BUD.size(1) :] = 0
            first_BUC, *others = _views(of_x, weight_DCK)
            first_BUC.copy_(of_h_BUD @ weights[0])
            for part_BUC, weight_DC in zip(others, weights[1:], strict=True):
                part_BUC.add_(of_h_BUD @ weight_DC)
        if ctx.needs_input_grad[1]:
            of_h_DN = of_h_BUD.flatten(0, 1).T
            of_parts = [of_h_DN @ part_BUC.flatten(0, 1) for part_BUC in _views(x_BTC, weight_DCK)]
            frames_DKC = [part.reshape(len(part), -1, weight_DCK.size(1)) for part in of_parts]
            of_weight = torch.cat(frames_DKC, dim=1).transpose(1, 2)
        return of_x, of_weight, of_h_BUD.sum(dim=(0, 1)) if ctx.needs_input_grad[2] else None


def _views(x_BTC: Tensor, weight_DCK: Tensor) -> list[Tensor]:
    """Return views of what each frame out is made of: two frames in (B, U, 2 x C), and the third one (B, U, C)."""
    kernel = weight_DCK.size(-1)
    last = _STRIDE * ((x_BTC.size(1) - kernel) // _STRIDE + 1)
    pairs_BUC = x_BTC[:, :last].reshape(len(x_BTC), last // _STRIDE, -1)
    return [pairs_BUC, *(x_BTC[:, start : last + start : _STRIDE] for start in range(_STRIDE, kernel))]


def _parts(weight_DCK: Tensor) -> list[Tensor]:
    """Return the weights (D, 2 x C) and (D, C) of these views."""
    pairs_DC = weight_DCK[:, :, :_STRIDE].transpose(1, 2).flatten(1)
    return [pairs_DC, *(weight_DCK[:, :, place] for place in range(_STRIDE, weight_DCK.size(-1)))]


def by_spectra(conv: nn.Conv1d) -> None:
    """Let a convolution of stride 1 multiply spectra on a CPU if its groups have few channels."""
    if conv.in_channels // conv.groups <= _FEW_CHANNELS and conv.stride == (1,) and conv.dilation == (1,):
        vars(conv)[_METHOD] = partial(_by_spectra, padding=int(conv.padding[0]), groups=conv.groups)


def as_given(network: nn.Module) -> None:
    """Undo `by_spectra` in a network."""
    for part in network.modules():
        vars(part).pop(_METHOD, None)


def _by_spectra(x_BCT: Tensor, weight_DCK: Tensor, bias: Tensor | None, *, padding: int, groups: int) -> Tensor:
    if x_BCT.is_cuda or x_BCT.dtype in (torch.bfloat16, torch.float16):
        return conv1d(x_BCT, weight_DCK, bias, padding=padding, groups=groups)
    padded = x_BCT.size(-1) + 2 * padding
    size = next_fast_len(padded, real=True)
    x_GWBC = torch.fft.rfft(pad(x_BCT, (padding, 0)), n=size).unflatten(1, (groups, -1)).permute(1, 3, 0, 2)
    weight_GWCD = torch.fft.rfft(weight_DCK, n=size).conj().unflatten(0, (groups, -1)).permute(0, 3, 2, 1)
    product_BDW = torch.matmul(x_GWBC, weight_GWCD).permute(2, 0, 3, 1).flatten(1, 2)
    h_BDU: Tensor = torch.fft.irfft(product_BDW, n=size)[..., : padded - weight_DCK.size(-1) + 1]
    return h_BDU if bias is None else h_BDU + bias[:, None]
