"""A streaming DeepSpeech2 on audio in pieces: the state of many streams in, encoder outputs and the next states out.

Each output equals that of the whole signal. The two convolutions look ahead: an output frame at time t, 20 ms long,
needs the audio up to t + 170 ms. The outputs of the last 170 ms come when a stream ends.

Legend: B streams, N samples, T feature frames, U output frames of 20 ms, F mel bins, C channels, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from asr_lab.data.audio import Signal
from asr_lab.data.features import RunningStatistics, filter_bank, normalize_running
from asr_lab.models.deepspeech2 import DeepSpeech2Network, Hidden, RecurrentLayer
from asr_lab.units import FRAME_LENGTH, FRAME_SHIFT, NUM_MEL_BINS, SAMPLE_RATE, num_frames

_KERNEL = 11  # frames that both convolutions see
_SIDE = _KERNEL // 2  # of them on either side of the middle one
LOOK_AHEAD = (_SIDE + 2 * _SIDE) * FRAME_SHIFT
"""Samples by which an output frame looks ahead of the window of its own feature frame: 150 ms."""
LATENCY_S = (LOOK_AHEAD + FRAME_LENGTH) / SAMPLE_RATE
"""Seconds of audio from the beginning of an output frame that have to be there: 170 ms."""


@dataclass(frozen=True)
class StreamState:
    """What a stream keeps of the audio so far: what later outputs depend on, whatever the length of the pieces."""

    samples: Signal
    """(N,), from the beginning of the next feature frame on."""
    statistics: RunningStatistics
    features: Tensor
    """(1, F, T), from the first one on that the next output of the first convolution sees."""
    convolved: Tensor
    """(C, F/2, U), outputs of the first convolution, from the first one on that the next output of the second sees."""
    hidden: tuple[Hidden | None, ...]
    """Of each recurrent layer, (1, 1, H)."""


class StreamingEncoder:
    """The encoder of a streaming DeepSpeech2, for any number of streams and threads."""

    def __init__(self, model: DeepSpeech2Network) -> None:
        assert model.config.streaming, "the network reads the whole utterance"
        self.model = model.eval()
        first, norm, active, second, *rest = model.conv.layers
        self._first, self._second = nn.ModuleList([first, norm, active]), nn.ModuleList([second, *rest])

    def start(self) -> StreamState:
        """Return the state before the first sample."""
        device, layers = self.model.device, len(self.model.rnn_layers)
        return StreamState(
            np.zeros(0, np.float32),
            RunningStatistics(),
            torch.zeros(1, NUM_MEL_BINS, _SIDE, device=device),
            torch.zeros(self.model.config.conv_channels, NUM_MEL_BINS // 2, _SIDE, device=device),
            (None,) * layers,
        )

    @torch.inference_mode()
    def step(
        self, pieces: Sequence[Signal], states: Sequence[StreamState], last: Sequence[bool]
    ) -> tuple[list[Tensor], list[StreamState]]:
        """Return the encoder outputs (U, H) that each stream's piece (N,) makes possible, and the states after it.

        A piece may be empty. `last`: the stream ends with it; its outputs are then complete.
        """
        read = [self._read(piece, state) for piece, state in zip(pieces, states, strict=True)]
        features = [_ended(state.features, end) for state, end in zip(read, last, strict=True)]
        convolved, features = _convolve(self._first, features)
        joined = [torch.cat([state.convolved, new], dim=-1) for state, new in zip(read, convolved, strict=True)]
        encoded, joined = _convolve(self._second, [_ended(one, end) for one, end in zip(joined, last, strict=True)])
        outputs, hidden = self._recur([one.flatten(0, 1).T for one in encoded], [state.hidden for state in read])
        after = [
            replace(state, features=feature, convolved=rest, hidden=layers)
            for state, feature, rest, layers in zip(read, features, joined, hidden, strict=True)
        ]
        return outputs, after

    def _read(self, piece: Signal, state: StreamState) -> StreamState:
        """Append the features of the whole frames."""
        samples = np.concatenate([state.samples, piece])
        frames = num_frames(len(samples))
        if not frames:
            return replace(state, samples=samples)
        features_TF, statistics = normalize_running(filter_bank(samples), state.statistics)
        new_1FT = features_TF.T[None].to(state.features.device)
        return replace(
            state,
            samples=samples[frames * FRAME_SHIFT :],
            statistics=statistics,
            features=torch.cat([state.features, new_1FT], dim=-1),
        )

    def _recur(
        self, inputs: Sequence[Tensor], hidden: Sequence[tuple[Hidden | None, ...]]
    ) -> tuple[list[Tensor], list[tuple[Hidden | None, ...]]]:
        """Run the recurrent layers on (U, C x F) of each stream that has any."""
        rows = [row for row, one in enumerate(inputs) if len(one)]
        outputs, after = [one.new_zeros(0, self.model.config.rnn_output_size) for one in inputs], list(hidden)
        if not rows:
            return outputs, after
        lengths = [len(inputs[row]) for row in rows]
        x_BUH = pad_sequence([inputs[row] for row in rows], batch_first=True)
        layers: list[list[Hidden]] = []
        for number, layer in enumerate(self.model.rnn_layers):
            assert isinstance(layer, RecurrentLayer)
            x_BUH, states = layer.step(x_BUH, lengths, [hidden[row][number] for row in rows])
            layers.append(states)
        for place, row in enumerate(rows):
            outputs[row] = x_BUH[place, : lengths[place]]
            after[row] = tuple(states[place] for states in layers)
        return outputs, after


def _ended(frames: Tensor, end: bool) -> Tensor:
    """Append the zeros that a convolution sees behind the end."""
    return nn.functional.pad(frames, (0, _SIDE)) if end else frames


def _convolve(layers: nn.ModuleList, frames: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the outputs (C, F, U) that frames (C, F, T) of each stream allow, and the frames that later ones need."""
    convolution: Any = layers[0]
    stride = convolution.stride[1]
    counts = [max(0, (one.size(-1) - _KERNEL) // stride + 1) for one in frames]
    rest = [one[..., count * stride :] for one, count in zip(frames, counts, strict=True)]
    bins = frames[0].size(1) // convolution.stride[0]
    outputs = [one.new_zeros(convolution.out_channels, bins, 0) for one in frames]
    rows = [row for row, count in enumerate(counts) if count]
    if rows:
        longest = max(frames[row].size(-1) for row in rows)
        x_BCFT = torch.stack([nn.functional.pad(frames[row], (0, longest - frames[row].size(-1))) for row in rows])
        padding = (convolution.padding[0], 0)
        x_BCFT = nn.functional.conv2d(x_BCFT, convolution.weight, None, convolution.stride, padding)
        for layer in list(layers)[1:]:
            x_BCFT = layer(x_BCFT)
        for place, row in enumerate(rows):
            outputs[row] = x_BCFT[place, ..., : counts[row]]
    return outputs, rest
