"""KoSpeech's DeepSpeech2 the way KoSpeech computes it: the reference that `bench_training.py` measures against.

After sooftware/KoSpeech, `kospeech/models/convolution.py` and `deepspeech2/model.py`: a mask built utterance by
utterance after every module of the convolutions, batch norms that see padding, packed bidirectional GRUs over batches
sorted by length. Parameters are called as in its checkpoints, so `convert_state_dict` carries them over to
`DeepSpeech2ForCTC`.

Legend: B utterances, T feature frames, U = ceil(T/2) output frames, F mel bins, C channels, H = hidden size x 2,
V classes, L labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr_lab.models.ctc import ctc_loss
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2Output
from asr_lab.units import NUM_MEL_BINS


class MaskCNN(nn.Module):
    """Convolutions of which every module's output is filled with 0 behind each utterance's end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sequential = nn.Sequential(
            nn.Conv2d(1, channels, (41, 11), stride=(2, 2), padding=(20, 5), bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20, inplace=True),
            nn.Conv2d(channels, channels, (21, 11), stride=(2, 1), padding=(10, 5), bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20, inplace=True),
        )

    def forward(self, x_BCFT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        for module in self.sequential:
            x_BCFT = module(x_BCFT)
            if isinstance(module, nn.Conv2d):
                reach = 2 * module.padding[1] - module.kernel_size[1]
                lengths_B = (lengths_B + reach).div(module.stride[1], rounding_mode="floor") + 1
            padded_BCFT = torch.zeros(x_BCFT.shape, dtype=torch.bool, device=x_BCFT.device)
            for index, length in enumerate(lengths_B.tolist()):
                behind = x_BCFT.size(3) - length
                if behind > 0:
                    padded_BCFT[index].narrow(2, length, behind).fill_(1)
            x_BCFT = x_BCFT.masked_fill(padded_BCFT, 0)
        return x_BCFT, lengths_B


class BNReluRNN(nn.Module):
    """Batch norm over real frames and padding, ReLU, packed bidirectional GRU; time comes first: (U, B, H)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.batch_norm = nn.BatchNorm1d(input_size)
        self.rnn = nn.GRU(input_size, hidden_size, bidirectional=True)

    def forward(self, x_UBH: Tensor, lengths_B: Tensor) -> Tensor:
        active_UBH = torch.relu(self.batch_norm(x_UBH.transpose(1, 2))).transpose(1, 2)
        packed, _ = self.rnn(pack_padded_sequence(active_UBH, lengths_B.cpu()))
        outputs_UBH, _ = pad_packed_sequence(packed, total_length=x_UBH.size(0))
        return outputs_UBH


class KoSpeechDeepSpeech2(nn.Module):
    """Features (B, T, 80), longest first, to class logits (B, U, V)."""

    def __init__(self, config: DeepSpeech2Config) -> None:
        super().__init__()
        self.blank = int(config.pad_token_id)
        self.conv = nn.ModuleDict({"conv": MaskCNN(config.conv_channels)})
        sizes = [config.conv_channels * NUM_MEL_BINS // 4]
        sizes += [config.rnn_output_size] * (config.num_layers - 1)
        self.rnn_layers = nn.ModuleList(BNReluRNN(size, config.hidden_size) for size in sizes)
        linear = nn.Linear(config.rnn_output_size, config.vocab_size, bias=False)
        self.fc = nn.ModuleList([nn.LayerNorm(config.rnn_output_size), nn.ModuleDict({"linear": linear})])

    def forward(
        self, input_features: Tensor, feature_lengths: Tensor, labels: Tensor | None = None
    ) -> DeepSpeech2Output:
        """Logits (B, U, V), and with labels (B, L), padded by -100, the CTC loss."""
        x_BCFT, lengths_B = self.conv["conv"](input_features.unsqueeze(1).transpose(2, 3), feature_lengths)
        x_UBH = x_BCFT.permute(3, 0, 1, 2).flatten(2).contiguous()
        for layer in self.rnn_layers:
            x_UBH = layer(x_UBH, lengths_B)
        norm, last = self.fc
        logits_BUV = last["linear"](norm(x_UBH.transpose(0, 1)))
        loss = None if labels is None else ctc_loss(logits_BUV, lengths_B, labels, blank=self.blank)
        return DeepSpeech2Output(loss=loss, logits=logits_BUV, logit_lengths=lengths_B)
