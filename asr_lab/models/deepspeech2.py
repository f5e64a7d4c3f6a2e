"""DeepSpeech2 for CTC, the network of KoSpeech (sooftware/KoSpeech), after Amodei et al. 2016, arXiv:1512.02595.

Two masked convolutions, N x (batch norm, ReLU, RNN), layer norm, linear. In evaluation the numbers are KoSpeech's; in
training the batch norms of the recurrent part see real frames alone, where KoSpeech's see padding too.

Legend: B utterances, T feature frames, U = ceil(T/2) output frames of 20 ms, F mel bins, C channels,
H = hidden size x directions, V classes, L labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from asr_lab.models.ctc import ctc_loss
from asr_lab.units import NUM_MEL_BINS

RNNS: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class DeepSpeech2Config(PretrainedConfig):  # type: ignore[misc]
    """Sizes of a DeepSpeech2; `text` holds the settings of the text normaliser it was trained with."""

    model_type = "deepspeech2"

    def __init__(
        self,
        vocab_size: int = 32,
        rnn_type: str = "gru",
        hidden_size: int = 256,
        num_layers: int = 2,
        bidirectional: bool = True,
        conv_channels: int = 32,
        head: str = "layer_norm",
        pad_token_id: int = 0,
        text: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.rnn_type = rnn_type
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.conv_channels = conv_channels
        self.head = head
        self.text = text or {}
        super().__init__(pad_token_id=pad_token_id, **rest)

    @property
    def rnn_output_size(self) -> int:
        """Values a frame of the recurrent part, which an adapter reads."""
        return int(self.hidden_size) * (2 if self.bidirectional else 1)


@dataclass
class DeepSpeech2Output(ModelOutput):  # type: ignore[misc]
    """`loss` (), mean over utterances of the CTC loss per label; `logits` (B, U, V); `logit_lengths` (B,)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    logit_lengths: Tensor | None = None


def output_length(feature_lengths: Tensor) -> Tensor:
    """Frames after the convolutions: U = ceil(T/2)."""
    return (feature_lengths - 1).div(2, rounding_mode="floor") + 1


def _zero_padding(x_BCFT: Tensor, lengths_B: Tensor) -> Tensor:
    frames = torch.arange(x_BCFT.size(-1), device=x_BCFT.device)
    return x_BCFT * (frames < lengths_B[:, None])[:, None, None, :]


def _as_weights_lie(gradient: Tensor) -> Tensor:
    return gradient.clone(memory_format=torch.contiguous_format)


class MaskedConvolutions(nn.Module):
    """(B, T, F) -> (B, U, C x F/4), every padded frame zero after every step (KoSpeech's MaskCNN)."""

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
        for parameter in self.layers.parameters():  # channels_last below: DDP wants gradients as weights lie
            parameter.register_hook(_as_weights_lie)  # type: ignore[no-untyped-call]

    def forward(self, features_BTF: Tensor, feature_lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        lengths_B = output_length(feature_lengths_B)
        x_BCFT = _zero_padding(features_BTF.transpose(1, 2).unsqueeze(1), feature_lengths_B)
        x_BCFT = x_BCFT.to(memory_format=torch.channels_last)  # the convolutions take half the time on CPU
        for layer in self.layers:
            x_BCFT = _zero_padding(layer(x_BCFT), lengths_B)
        batch, channels, bins, num_frames = x_BCFT.shape
        return x_BCFT.permute(0, 3, 1, 2).reshape(batch, num_frames, channels * bins), lengths_B


class Padding:
    """Which of B x U padded frames are real, and where each goes when its utterance is turned round."""

    def __init__(self, lengths_B: Tensor, num_frames: int) -> None:
        frames_U = torch.arange(num_frames, device=lengths_B.device)
        self.real_BU = frames_U < lengths_B[:, None]
        self.turned_BU = torch.where(self.real_BU, lengths_B[:, None] - 1 - frames_U, frames_U)

    def turn_round(self, x_BUH: Tensor) -> Tensor:
        """Each utterance backwards within its length; twice gives it back."""
        return x_BUH.gather(1, self.turned_BU[:, :, None].expand_as(x_BUH))


class RecurrentLayer(nn.Module):
    """Batch norm, ReLU, RNN; directions are concatenated.

    The backward RNN reads each utterance turned round within its own length. That gives the numbers of PyTorch's
    packed bidirectional RNN at half the training time on CPU, where the gradient of packing costs as much as the RNN.
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
            backward_BUH, _ = self.backward_rnn(padding.turn_round(active_BUH))
            outputs.append(padding.turn_round(backward_BUH))
        return torch.cat(outputs, dim=-1)

    def _normalize(self, x_BUH: Tensor, padding: Padding) -> Tensor:
        if not self.training:
            return torch.relu(self.batch_norm(x_BUH.flatten(0, 1))).view_as(x_BUH)
        active_BUH = torch.zeros_like(x_BUH)  # statistics of real frames alone
        normed = torch.relu(self.batch_norm(x_BUH[padding.real_BU]))
        active_BUH[padding.real_BU] = normed.to(active_BUH.dtype)
        return active_BUH


class KoSpeechLayerNorm(nn.Module):
    """The layer norm of KoSpeech in February 2021: (x - mean) / (unbiased standard deviation + 1e-6).

    PyTorch's takes the biased variance and adds its epsilon under the root: about 1e-3 apart.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x_BUH: Tensor) -> Tensor:
        centred_BUH = x_BUH - x_BUH.mean(dim=-1, keepdim=True)
        return self.weight * centred_BUH / (x_BUH.std(dim=-1, keepdim=True) + 1e-6) + self.bias


def output_layer(config: DeepSpeech2Config) -> nn.Sequential:
    """(B, U, H) -> logits (B, U, V), in the three forms that KoSpeech's output layer has had.

    `layer_norm`: of its later commits and of openspeech; `kospeech_layer_norm`: of February 2021; `mlp`: of v1.
    """
    size, classes = config.rnn_output_size, config.vocab_size
    if config.head == "mlp":
        hidden = nn.Linear(size, config.hidden_size)
        return nn.Sequential(hidden, nn.ReLU(), nn.Linear(config.hidden_size, classes, bias=False))
    norm = {"layer_norm": nn.LayerNorm, "kospeech_layer_norm": KoSpeechLayerNorm}[config.head](size)
    return nn.Sequential(norm, nn.Linear(size, classes, bias=False))


class DeepSpeech2ForCTC(PreTrainedModel):  # type: ignore[misc]
    """A recogniser: features (B, T, 80) to class logits (B, U, V)."""

    config_class = DeepSpeech2Config
    base_model_prefix = "deepspeech2"
    main_input_name = "input_features"
    accepts_loss_kwargs = False  # the loss below does not know Trainer's num_items_in_batch

    def __init__(self, config: DeepSpeech2Config) -> None:
        super().__init__(config)
        self.conv = MaskedConvolutions(config.conv_channels)
        sizes = [config.conv_channels * NUM_MEL_BINS // 4]
        sizes += [config.rnn_output_size] * (config.num_layers - 1)
        self.rnn_layers = nn.ModuleList(
            RecurrentLayer(config.rnn_type, size, config.hidden_size, config.bidirectional) for size in sizes
        )
        self.head = output_layer(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own initialisation stands."""

    def encode(self, input_features: Tensor, feature_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The recurrent part's output (B, U, H) and its lengths (B,): what the head, or an adapter, reads."""
        encoded_BUH, lengths_B = self.conv(input_features, feature_lengths)
        padding = Padding(lengths_B, encoded_BUH.size(1))
        for layer in self.rnn_layers:
            encoded_BUH = layer(encoded_BUH, padding)
        return encoded_BUH * padding.real_BU[:, :, None], lengths_B

    def forward(
        self, input_features: Tensor, feature_lengths: Tensor, labels: Tensor | None = None
    ) -> DeepSpeech2Output:
        """Logits (B, U, V) of features (B, T, 80); with labels (B, L), padded by -100, the CTC loss too."""
        encoded_BUH, lengths_B = self.encode(input_features, feature_lengths)
        logits_BUV = self.head(encoded_BUH)
        loss = None
        if labels is not None:
            loss = ctc_loss(logits_BUV, lengths_B, labels, blank=int(self.config.pad_token_id))
        return DeepSpeech2Output(loss=loss, logits=logits_BUV, logit_lengths=lengths_B)

    def freeze_base_model(self) -> None:
        """No parameter learns, and batch norms keep their statistics."""
        self.requires_grad_(False).eval()

    def unfreeze_base_model(self) -> None:
        """Every parameter learns again."""
        self.requires_grad_(True)
