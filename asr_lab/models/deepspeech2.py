"""DeepSpeech2 for CTC, the network of KoSpeech (sooftware/KoSpeech), after Amodei et al. 2016, arXiv:1512.02595.

Two masked convolutions, N x (batch norm, ReLU, RNN), layer norm, linear. In evaluation the outputs equal KoSpeech's; in
training the batch norms of the recurrent layers ignore padding, which KoSpeech's include.

Legend: B utterances, T feature frames, U = ceil(T/2) output frames of 20 ms, F mel bins, C channels,
H = hidden size x directions, V classes, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr_lab.data.features import Normalization
from asr_lab.units import NUM_MEL_BINS

Hidden = tuple[Tensor, ...]
"""The state of an RNN of one layer, (1, B, H): one tensor, two of an LSTM."""
RNNS: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class DeepSpeech2Shape:
    """What a DeepSpeech2 is built from, as `config.json` has it; `text` holds the settings of its text normaliser.

    A `streaming` network has one direction, and was trained on features normalised by the statistics so far.
    """

    def __init__(
        self,
        vocab_size: int = 32,
        rnn_type: str = "gru",
        hidden_size: int = 256,
        num_layers: int = 2,
        bidirectional: bool = True,
        streaming: bool = False,
        conv_channels: int = 32,
        head: str = "layer_norm",
        normalize: Literal["utterance", "speech"] = "utterance",
        pad_token_id: int = 0,
        text: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.rnn_type = rnn_type
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.streaming = streaming
        self.conv_channels = conv_channels
        self.head = head
        self.normalize: Literal["utterance", "speech"] = normalize
        self.pad_token_id = pad_token_id
        self.text = text or {}

    @property
    def normalization(self) -> Normalization:
        """How its features are normalised."""
        return "running" if self.streaming else self.normalize

    @property
    def rnn_output_size(self) -> int:
        """Size of the encoder outputs, which are the input of an adapter."""
        return int(self.hidden_size) * (2 if self.bidirectional else 1)


def output_length(feature_lengths: Tensor) -> Tensor:
    """Return the number of frames after the convolutions: U = ceil(T/2)."""
    return (feature_lengths - 1).div(2, rounding_mode="floor") + 1


def _zero_padding(x_BCFT: Tensor, lengths_B: Tensor) -> Tensor:
    frames = torch.arange(x_BCFT.size(-1), device=x_BCFT.device)
    return x_BCFT * (frames < lengths_B[:, None])[:, None, None, :]


def _contiguous(gradient: Tensor) -> Tensor:
    return gradient.clone(memory_format=torch.contiguous_format)


class MaskedConvolutions(nn.Module):
    """(B, T, F) -> (B, U, C x F/4), with padded frames set to zero after each layer (KoSpeech's MaskCNN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, (41, 11), stride=(2, 2), padding=(20, 5), bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20, inplace=True),
            nn.Conv2d(channels, channels, (21, 11), stride=(2, 1), padding=(10, 5), bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20, inplace=True),
        )
        for parameter in self.layers.parameters():  # DDP needs gradients in the memory format of the weights
            parameter.register_hook(_contiguous)  # type: ignore[no-untyped-call]

    def forward(self, features_BTF: Tensor, feature_lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        lengths_B = output_length(feature_lengths_B)
        x_BCFT = _zero_padding(features_BTF.transpose(1, 2).unsqueeze(1), feature_lengths_B)
        for place, layer in enumerate(self.layers):
            # Halves the time of the second convolution on CPU. For the first, of one channel, oneDNN would ask for a
            # scratch buffer of 108 MB a second of audio, and be no faster.
            if place:
                x_BCFT = x_BCFT.to(memory_format=torch.channels_last)
            x_BCFT = _zero_padding(layer(x_BCFT), lengths_B)
        batch, channels, bins, num_frames = x_BCFT.shape
        return x_BCFT.permute(0, 3, 1, 2).reshape(batch, num_frames, channels * bins), lengths_B


class Padding:
    """Mask of the real frames of a padded batch, and the frame order of reversed utterances."""

    def __init__(self, lengths_B: Tensor, num_frames: int) -> None:
        frames_U = torch.arange(num_frames, device=lengths_B.device)
        self.real_BU = frames_U < lengths_B[:, None]
        self.reversed_BU = torch.where(self.real_BU, lengths_B[:, None] - 1 - frames_U, frames_U)

    def reverse(self, x_BUH: Tensor) -> Tensor:
        """Reverse the real frames of each utterance."""
        return x_BUH.gather(1, self.reversed_BU[:, :, None].expand_as(x_BUH))


class RecurrentLayer(nn.Module):
    """Batch norm, ReLU, RNN; directions are concatenated.

    The backward RNN reads each utterance reversed within its own length. The outputs equal those of PyTorch's packed
    bidirectional RNN at half the training time on CPU, where the gradient of packing costs as much as the RNN.
    """

    def __init__(self, rnn_type: str, input_size: int, hidden_size: int, bidirectional: bool) -> None:
        super().__init__()
        self.batch_norm = nn.BatchNorm1d(input_size)
        self.forward_rnn = RNNS[rnn_type](input_size, hidden_size, batch_first=True)
        self.backward_rnn = RNNS[rnn_type](input_size, hidden_size, batch_first=True) if bidirectional else None

    def forward(self, x_BUH: Tensor, padding: Padding) -> Tensor:
        active_BUH = self._normalize(x_BUH, padding)
        outputs = [self.forward_rnn(active_BUH)[0]]
        if self.backward_rnn is not None:
            backward_BUH, _ = self.backward_rnn(padding.reverse(active_BUH))
            outputs.append(padding.reverse(backward_BUH))
        return torch.cat(outputs, dim=-1)

    def step(
        self, x_BUH: Tensor, lengths: Sequence[int], hidden: Sequence[Hidden | None]
    ) -> tuple[Tensor, list[Hidden]]:
        """Go on from the state of each stream (None: the beginning) with at least one frame; return outputs and states.

        For evaluation, in one direction.
        """
        assert not self.training
        assert self.backward_rnn is None
        parts = 2 if isinstance(self.forward_rnn, nn.LSTM) else 1
        zeros = x_BUH.new_zeros(1, 1, self.forward_rnn.hidden_size)
        before = [torch.cat([one[part] if one else zeros for one in hidden], dim=1) for part in range(parts)]
        active_BUH = self._active(x_BUH)
        given = before[0] if parts == 1 else tuple(before)
        if len(lengths) == 1:
            outputs_BUH, after = self.forward_rnn(active_BUH, given)
        else:
            packed = pack_padded_sequence(active_BUH, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
            packed, after = self.forward_rnn(packed, given)
            outputs_BUH, _ = pad_packed_sequence(packed, batch_first=True)
        states = after if isinstance(after, tuple) else (after,)
        return outputs_BUH, [tuple(part[:, row : row + 1] for part in states) for row in range(len(lengths))]

    def _active(self, x_BUH: Tensor) -> Tensor:
        return torch.relu(self.batch_norm(x_BUH.flatten(0, 1))).view_as(x_BUH)

    def _normalize(self, x_BUH: Tensor, padding: Padding) -> Tensor:
        if not self.training:
            return self._active(x_BUH)
        active_BUH = torch.zeros_like(x_BUH)  # statistics over real frames only
        normed = torch.relu(self.batch_norm(x_BUH[padding.real_BU]))
        active_BUH[padding.real_BU] = normed.to(active_BUH.dtype)
        return active_BUH


class KoSpeechLayerNorm(nn.Module):
    """The layer norm of KoSpeech in February 2021: (x - mean) / (unbiased standard deviation + 1e-6).

    PyTorch's uses the biased variance and adds epsilon under the root; outputs differ by about 1e-3.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x_BUH: Tensor) -> Tensor:
        centred_BUH = x_BUH - x_BUH.mean(dim=-1, keepdim=True)
        return self.weight * centred_BUH / (x_BUH.std(dim=-1, keepdim=True) + 1e-6) + self.bias


def output_layer(config: DeepSpeech2Shape) -> nn.Sequential:
    """Build the output layer (B, U, H) -> (B, U, V) in one of the three forms of KoSpeech.

    `layer_norm`: later commits, and openspeech; `kospeech_layer_norm`: February 2021; `mlp`: v1.
    """
    size, classes = config.rnn_output_size, config.vocab_size
    if config.head == "mlp":
        hidden = nn.Linear(size, config.hidden_size)
        return nn.Sequential(hidden, nn.ReLU(), nn.Linear(config.hidden_size, classes, bias=False))
    norm = {"layer_norm": nn.LayerNorm, "kospeech_layer_norm": KoSpeechLayerNorm}[config.head](size)
    return nn.Sequential(norm, nn.Linear(size, classes, bias=False))


class DeepSpeech2Network(nn.Module):
    """A recogniser: features (B, T, 80) to class logits (B, U, V). `DeepSpeech2ForCTC` is the same for transformers."""

    config: DeepSpeech2Shape

    def __init__(self, config: DeepSpeech2Shape) -> None:
        super().__init__()
        self.config = config
        self.build(config)

    def build(self, config: DeepSpeech2Shape) -> None:
        """Make the layers."""
        self.conv = MaskedConvolutions(config.conv_channels)
        sizes = [config.conv_channels * NUM_MEL_BINS // 4]
        sizes += [config.rnn_output_size] * (config.num_layers - 1)
        self.rnn_layers = nn.ModuleList(
            RecurrentLayer(config.rnn_type, size, config.hidden_size, config.bidirectional) for size in sizes
        )
        self.head = output_layer(config)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, input_features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute encoder outputs (B, U, H), the input of the head or an adapter, and their lengths (B,)."""
        encoded_BUH, lengths_B = self.conv(input_features, feature_lengths)
        padding = Padding(lengths_B, encoded_BUH.size(1))
        for layer in self.rnn_layers:
            encoded_BUH = layer(encoded_BUH, padding)
        return encoded_BUH * padding.real_BU[:, :, None], lengths_B

    def freeze_base_model(self) -> None:
        """Freeze all parameters and the statistics of batch norms."""
        self.requires_grad_(False).eval()

    def unfreeze_base_model(self) -> None:
        """Make all parameters trainable."""
        self.requires_grad_(True)
