"""Recognisers as one ONNX graph from samples to logits: `samples` (B, N), `lengths` (B,) -> `logits`, `logit_lengths`.

What lies before a network is in the graph: filter banks and normalisation, over the real samples of each row. PyTorch's
older exporter writes it (`dynamo=False`), since the newer one fixes the length of recurrent layers.

Legend: B utterances, N samples, T feature frames, U output frames, F mel bins, K frequencies, C channels, V classes.
"""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from asr_lab.errors import AsrLabError
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.recognizer import Recognizer
from asr_lab.models.wav2vec2.convolutions import FramesFirst, as_given
from asr_lab.models.wav2vec2.frame_counts import num_frames
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer
from asr_lab.units import FRAME_LENGTH, FRAME_SHIFT, NUM_MEL_BINS, SAMPLE_RATE

OPSET = 17  # the first with DFT and LayerNormalization
INPUTS, OUTPUTS = ("samples", "lengths"), ("logits", "logit_lengths")
_FFT_SIZE = 512  # the next power of 2 above a window, as in Kaldi
_PREEMPHASIS, _LOWEST_HZ = 0.97, 20.0  # Kaldi's defaults
_TRACED_S = (1.3, 0.9)  # seconds of the rows that are traced; any other number and lengths of rows do as well

Strides = tuple[tuple[int, int], ...]
"""(kernel, stride) of the unpadded convolutions that give a signal's number of output frames."""


class _Power(torch.autograd.Function):
    """Power spectrum (M, K) of windowed frames (M, n).

    In ONNX two matrix products: nearer to PyTorch's and 2.6 times as fast as onnxruntime's DFT. The matrices are
    computed when a session begins, and take no room in the file.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        power: Tensor = torch.fft.rfft(frames, n=_FFT_SIZE).abs().square()
        return power

    @staticmethod
    def symbolic(g: Any, frames: Any) -> Any:
        def constant(value: object, dtype: torch.dtype = torch.int64) -> Any:
            return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

        def numbers(count: int, axis: int) -> Any:
            row = g.op("Unsqueeze", g.op("Range", constant(0), constant(count), constant(1)), constant([axis]))
            return g.op("Cast", row, to_i=onnx.TensorProto.DOUBLE)

        # a product by Mul would be computed when exporting, and stored
        steps = g.op("MatMul", numbers(FRAME_LENGTH, 1), numbers(_FFT_SIZE // 2 + 1, 0))
        turns = g.op("Mod", steps, constant(_FFT_SIZE, torch.float64), fmod_i=1)
        angles = g.op("Mul", turns, constant(2 * math.pi / _FFT_SIZE, torch.float64))
        waves = [g.op("Cast", g.op(name, angles), to_i=onnx.TensorProto.FLOAT) for name in ("Cos", "Sin")]
        real, imaginary = (g.op("MatMul", frames, wave) for wave in waves)
        return g.op("Add", g.op("Mul", real, real), g.op("Mul", imaginary, imaginary))


class FilterBank(nn.Module):
    """`data.features.extract` of each row: samples (B, N), lengths (B,) -> features (B, T, F), their lengths (B,)."""

    window: Tensor
    mel: Tensor  # (K, F)

    def __init__(self) -> None:
        super().__init__()
        window = torch.hamming_window(FRAME_LENGTH, periodic=False, alpha=0.54, beta=0.46)
        banks, _ = kaldi.get_mel_banks(NUM_MEL_BINS, _FFT_SIZE, float(SAMPLE_RATE), _LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("window", window)
        self.register_buffer("mel", nn.functional.pad(banks, (0, 1)).T.contiguous())

    def forward(self, samples_BN: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        count = (samples_BN.size(1) - FRAME_LENGTH) // FRAME_SHIFT + 1
        hops_BTn = samples_BN[:, : (count + 1) * FRAME_SHIFT].reshape(samples_BN.size(0), -1, FRAME_SHIFT)
        frames_BTn = torch.cat([hops_BTn[:, :-1], hops_BTn[:, 1:]], dim=-1)  # a window is two hops
        frames_BTn = frames_BTn - frames_BTn.mean(dim=-1, keepdim=True)
        before_BTn = torch.cat([frames_BTn[:, :, :1], frames_BTn[:, :, :-1]], dim=-1)
        frames_BTn = (frames_BTn - _PREEMPHASIS * before_BTn) * self.window
        power: Tensor = _Power.apply(frames_BTn.reshape(-1, FRAME_LENGTH))
        energies = (power @ self.mel).clamp_min(torch.finfo(torch.float32).eps).log()
        feature_lengths_B = (lengths_B - FRAME_LENGTH).div(FRAME_SHIFT, rounding_mode="floor") + 1
        return _normalized(energies.reshape(samples_BN.size(0), -1, NUM_MEL_BINS), feature_lengths_B), feature_lengths_B


def _normalized(features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    """`data.features.normalize` of each row over its real frames; 0 in the padding."""
    real_BT1 = (torch.arange(features_BTF.size(1)) < lengths_B[:, None])[:, :, None].to(features_BTF.dtype)
    count_B11 = (lengths_B * NUM_MEL_BINS)[:, None, None].to(features_BTF.dtype)
    centred_BTF = (features_BTF - (features_BTF * real_BT1).sum(dim=(1, 2), keepdim=True) / count_B11) * real_BT1
    deviation_B11 = (centred_BTF.square().sum(dim=(1, 2), keepdim=True) / count_B11).sqrt()
    return centred_BTF / deviation_B11.clamp_min(1e-5)


class DeepSpeech2Graph(nn.Module):
    """A DeepSpeech2 with its filter bank, and the speaker's adapter where one is attached."""

    def __init__(self, recognizer: DeepSpeech2Recognizer) -> None:
        super().__init__()
        self.filter_bank = FilterBank()
        self.network = recognizer.model
        self.adapter = recognizer.adapter
        self.head = recognizer.head

    def forward(self, samples_BN: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        encoded_BUH, lengths_B = self.network.encode(*self.filter_bank(samples_BN, lengths_B))
        return self.head(encoded_BUH), lengths_B


class EncoderGraph(nn.Module):
    """A model of the wav2vec2 family with the normalisation of its samples; it shares the recogniser's weights."""

    def __init__(self, recognizer: Wav2Vec2Recognizer) -> None:
        super().__init__()
        self.normalize = bool(recognizer.feature_extractor.do_normalize)
        plain = recognizer.model.plain
        self.network = copy.deepcopy(plain, {id(one): one for one in plain.parameters()})
        self.network.set_attn_implementation("eager")  # else rows without a real frame are searched for NaN
        as_given(self.network)
        front = getattr(self.network, plain.base_model_prefix).feature_extractor
        self.norms: list[_MaskedNorm] = []
        for index, layer in enumerate(front.conv_layers):
            if isinstance(layer, FramesFirst):
                front.conv_layers[index] = _Convolution(layer)
            elif isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                layer.layer_norm = _MaskedNorm(layer.layer_norm)
                self.norms.append(layer.layer_norm)
        self.kernels, self.strides = recognizer.shape.conv_kernel, recognizer.shape.conv_stride

    def forward(self, samples_BN: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        real_BN = torch.arange(samples_BN.size(1)) < lengths_B[:, None]
        if self.normalize:
            samples_BN = _zero_mean_unit_variance(samples_BN, real_BN.to(samples_BN.dtype), lengths_B)
        for norm in self.norms:
            norm.lengths = num_frames(lengths_B, self.kernels[:1], self.strides[:1])
        logits_BUV = self.network(samples_BN, attention_mask=real_BN.long()).logits
        return logits_BUV, num_frames(lengths_B, self.kernels, self.strides)


def _zero_mean_unit_variance(samples_BN: Tensor, real_BN: Tensor, lengths_B: Tensor) -> Tensor:
    """`Wav2Vec2FeatureExtractor`'s normalisation of each row over its real samples; 0 in the padding."""
    count_B1 = lengths_B[:, None].to(samples_BN.dtype)
    centred_BN = (samples_BN - (samples_BN * real_BN).sum(dim=1, keepdim=True) / count_B1) * real_BN
    return centred_BN / (centred_BN.square().sum(dim=1, keepdim=True) / count_B1 + 1e-7).sqrt()


class _Convolution(nn.Module):
    """`FramesFirst` (B, C, T) -> (B, D, U) of matrix products; its views would be traced as a loop over frames."""

    def __init__(self, layer: FramesFirst) -> None:
        super().__init__()
        (self.kernel,), (self.stride,) = layer.conv.kernel_size, layer.conv.stride
        self.rest = self.kernel - self.stride
        self.conv, self.activation = layer.conv, layer.activation
        self.norm = getattr(layer, "layer_norm", nn.Identity())
        parts = (self.stride, self.rest) if self.rest else (self.stride,)
        halves = layer.conv.weight.detach().split(parts, dim=-1) if self.rest in (0, 1, self.stride) else ()
        self.halves = nn.ParameterList(half.transpose(1, 2).flatten(1).T.contiguous() for half in halves)

    def forward(self, x_BCT: Tensor) -> Tensor:
        h_BUD = self._products(x_BCT.transpose(1, 2)) if self.halves else self.conv(x_BCT).transpose(1, 2)
        activated: Tensor = self.activation(self.norm(h_BUD))
        return activated.transpose(1, 2)

    def _products(self, x_BTC: Tensor) -> Tensor:
        count = (x_BTC.size(1) - self.kernel) // self.stride + 1
        shape = (x_BTC.size(0), -1, self.stride * x_BTC.size(2))
        h_BUD: Tensor = x_BTC[:, : self.stride * count].reshape(shape) @ self.halves[0]
        if self.rest == 1:
            h_BUD = h_BUD + x_BTC[:, self.stride : self.stride * count + 1 : self.stride] @ self.halves[1]
        elif self.rest:
            h_BUD = h_BUD + x_BTC[:, self.stride : self.stride * (count + 1)].reshape(shape) @ self.halves[1]
        return h_BUD if self.conv.bias is None else h_BUD + self.conv.bias


class _MaskedNorm(nn.Module):
    """`UnpaddedGroupNorm` by masks; its own loop over the rows would be traced for the rows of one batch."""

    lengths: Tensor  # (B,), in frames

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        assert norm.num_groups == norm.num_channels, "each channel is a group in this family"
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x_BCU: Tensor) -> Tensor:
        real_B1U = (torch.arange(x_BCU.size(-1)) < self.lengths[:, None])[:, None].to(x_BCU.dtype)
        count_B11 = self.lengths[:, None, None].to(x_BCU.dtype)
        centred_BCU = (x_BCU - (x_BCU * real_B1U).sum(dim=-1, keepdim=True) / count_B11) * real_B1U
        variance_BC1 = centred_BCU.square().sum(dim=-1, keepdim=True) / count_B11
        normed_BCU = centred_BCU / (variance_BC1 + self.eps).sqrt() * self.weight[:, None] + self.bias[:, None]
        return normed_BCU * real_B1U


def graph_of(recognizer: Recognizer) -> nn.Module:
    """Return the module that is exported; adapters inside the network are merged into its weights.

    Raises `AsrLabError` for a family, or a normalisation of features, that cannot be exported.
    """
    if isinstance(recognizer, DeepSpeech2Recognizer):
        _check_normalization(recognizer)
        return DeepSpeech2Graph(recognizer)
    if isinstance(recognizer, Wav2Vec2Recognizer):
        recognizer.merge()
        return EncoderGraph(recognizer)
    raise AsrLabError(
        f"a {recognizer.model_type} cannot be exported: its network takes a text beside the audio",
        allowed="recognisers of deepspeech2 and wav2vec2",
    )


def _check_normalization(recognizer: DeepSpeech2Recognizer) -> None:
    """Raise `AsrLabError` if features are normalised in another way than the graph's."""
    if recognizer.model.config.normalization == "utterance":
        return
    key = "model.streaming=true" if recognizer.model.config.streaming else "model.normalize=speech"
    raise AsrLabError(
        f"a deepspeech2 of {key} cannot be exported: graphs normalise features over the whole utterance",
        allowed="a deepspeech2 of model.streaming=false and model.normalize=utterance",
    )


def strides_of(recognizer: Recognizer) -> Strides:
    """Return what gives the number of output frames of a signal (`wav2vec2.network.num_frames`)."""
    if isinstance(recognizer, Wav2Vec2Recognizer):
        return tuple(zip(recognizer.shape.conv_kernel, recognizer.shape.conv_stride, strict=True))
    return ((FRAME_LENGTH, FRAME_SHIFT), (1, 2))


def write_graph(recognizer: Recognizer, file: Path) -> None:
    """Write the graph of a recogniser to `file`, with any batch size and length; its network moves to the CPU.

    Raises `AsrLabError` for a family that cannot be exported.
    """
    recognizer.model.to("cpu")
    module = graph_of(recognizer).eval().requires_grad_(False)
    lengths_B = torch.tensor([round(seconds * SAMPLE_RATE) for seconds in _TRACED_S])
    generator = torch.Generator().manual_seed(0)
    samples_BN = 0.1 * torch.randn(len(lengths_B), int(lengths_B.max()), generator=generator)
    axes = {"samples": {0: "batch", 1: "num_samples"}, "lengths": {0: "batch"}}
    axes |= {"logits": {0: "batch", 1: "num_frames"}, "logit_lengths": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that values are traced as constants: parity is checked
        torch.onnx.export(
            module,
            (samples_BN, lengths_B),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_axes=axes,
        )
