"""A log-mel front end for wav2vec2 encoders trained from scratch.

It replaces the seven convolutions over samples, which need more speech than a tiny encoder is trained on. The filter
bank has the frames of a convolution of 400 samples with stride 160, followed by two convolutions; lengths and masks are
derived from the encoder's configuration as usual.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram
from transformers import Wav2Vec2Config

from asr_lab.config.schema import PronunciationModel
from asr_lab.models.wav2vec2.bases import groups_of
from asr_lab.units import NUM_MEL_BINS, SAMPLE_RATE

_KERNELS, _STRIDES = (400, 3, 3), (160, 1, 2)
_FLOOR = 1e-5  # smallest energy, for samples of unit variance


def tiny(settings: PronunciationModel) -> Any:
    """Return the configuration of a tiny encoder for `LogMel`, with a frame every 20 ms."""
    channels = settings.hidden_size
    return Wav2Vec2Config(
        hidden_size=channels,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        intermediate_size=4 * channels,
        conv_dim=(NUM_MEL_BINS, channels, channels),
        conv_kernel=_KERNELS,
        conv_stride=_STRIDES,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=groups_of(channels),
        hidden_dropout=settings.dropout,
        attention_dropout=0.0,  # costs a fifth of an update on CPU
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        apply_spec_augment=False,
        layerdrop=0.0,
    )


class LogMel(nn.Module):
    """Samples (B, N) -> channels (B, C, U): 80 log-mel energies, normalised per utterance and convolved."""

    lengths: list[int] | None = None
    """Number of 10 ms frames of each utterance of the batch (set by `BatchMasking`); None: no padding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        with torch.device("cpu"):  # transformers builds networks on `meta`, which cannot compute the filters
            self.energies = MelSpectrogram(
                SAMPLE_RATE, n_fft=_KERNELS[0], hop_length=_STRIDES[0], n_mels=NUM_MEL_BINS, f_min=20.0, center=False
            )
        sizes = (NUM_MEL_BINS, *config.conv_dim[1:])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(sizes[index], sizes[index + 1], kernel, stride)
            for index, (kernel, stride) in enumerate(
                zip(config.conv_kernel[1:], config.conv_stride[1:], strict=True),
            )
        )

    def forward(self, input_values: Tensor) -> Tensor:
        with torch.autocast(input_values.device.type, enabled=False):
            x_BCT = self._normalized(self.energies(input_values.float()).clamp_min(_FLOOR).log())
        for convolution in self.convolutions:
            x_BCT = nn.functional.gelu(convolution(x_BCT))
        return x_BCT

    def _normalized(self, energies_BFT: Tensor) -> Tensor:
        """Subtract each bin's mean over the real frames, and divide by the deviation over all bins."""
        frames_T = torch.arange(energies_BFT.size(-1), device=energies_BFT.device)
        lengths_B = torch.tensor(self.lengths or [len(frames_T)] * len(energies_BFT), device=energies_BFT.device)
        real_B1T = (frames_T < lengths_B[:, None])[:, None, :]
        count_B11 = lengths_B[:, None, None].clamp_min(1)
        mean_BF1 = (energies_BFT * real_B1T).sum(dim=-1, keepdim=True) / count_B11
        centred_BFT = (energies_BFT - mean_BF1) * real_B1T
        variance_B11 = centred_BFT.square().sum(dim=(1, 2), keepdim=True) / (count_B11 * energies_BFT.size(1))
        return centred_BFT / (variance_B11 + _FLOOR).sqrt()

    def _freeze_parameters(self) -> None:
        self.requires_grad_(False)
