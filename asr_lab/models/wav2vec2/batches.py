"""Batches for the wav2vec2 family: samples, attention mask, and the masks of SpecAugment.

Shapes: B utterances, N samples, U frames of 20 ms, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_lab.data.augment import FrameMasker
from asr_lab.data.batches import Batch, Chain, Collator


@dataclass(frozen=True, kw_only=True)
class SoundCollator(Collator):
    """Reads, augments and pads a batch of samples.

    A batch has `input_values` (B, N) and `attention_mask` (B, N) instead of features; with a `FrameMasker` also
    `time_mask` (B, U) and `channel_mask` (B, C).
    """

    output_frames: Callable[[int], int]
    num_channels: int

    def inputs(self, chains: Sequence[Chain]) -> Batch:
        signals = [self._features(chain, epoch) for chain, epoch in chains]
        batch = self.pad(signals)
        if isinstance(self.augmenter, FrameMasker):
            frames, channels = zip(
                *(
                    self.augmenter.masks(
                        self.output_frames(len(samples)), self.num_channels, chain[0].id, epoch, len(chain)
                    )
                    for samples, (chain, epoch) in zip(signals, chains, strict=True)
                ),
                strict=True,
            )
            batch |= {"time_mask": pad_sequence(list(frames), batch_first=True), "channel_mask": torch.stack(channels)}
        return batch

    @staticmethod
    def pad(features: Sequence[Tensor]) -> Batch:
        """Pad signals (num_samples,) to a batch."""
        lengths_B = torch.tensor([len(one) for one in features])
        values_BN = pad_sequence(list(features), batch_first=True)
        return {
            "input_values": values_BN,
            "attention_mask": torch.arange(values_BN.size(1)) < lengths_B[:, None],
        }
