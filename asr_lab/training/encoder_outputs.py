"""Encoder outputs and logits of a frozen base model, computed once: the input of adapters.

Legend: B utterances, U frames, N = frames of all utterances of a batch in one row, H base output, V classes, L labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse import CutSet
from rich.progress import Progress
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_lab.data.batches import LABEL_PADDING
from asr_lab.models.adapter import MLPAdapter
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.system.terminal import Console
from asr_lab.training.row_cache import RowCache, Where, make_row_cache


@dataclass(frozen=True)
class EncoderOutputs:
    """Encoder outputs (U, H) and logits (U, V) of each utterance, and the seconds spent computing them."""

    rows: RowCache
    seconds: float

    @classmethod
    def of(
        cls,
        recognizer: DeepSpeech2Recognizer,
        cuts: CutSet,
        console: Console,
        *,
        where: Where = "auto",
        folder: Path = Path("checkpoints"),
        rows: RowCache | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
    ) -> EncoderOutputs:
        """Run the base once over each utterance.

        Outputs that do not fit into memory go to `folder`; a given `rows` is used in any case.
        """
        began = time.monotonic()
        config = recognizer.model.config
        rows = rows or make_row_cache(cuts, (config.rnn_output_size, config.vocab_size), where, folder)
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("one pass of the base", total=len(cuts))
            for ids, frames_BUH, lengths_B in recognizer.iterate_encoder_outputs(
                cuts, batch_size, lambda done: bar.advance(task, done), num_workers
            ):
                real = torch.arange(frames_BUH.size(1), device=frames_BUH.device) < lengths_B[:, None]
                frames_NH = frames_BUH[real]
                lengths = lengths_B.tolist()
                columns = [torch.split(rows_N.cpu(), lengths) for rows_N in (frames_NH, _logits(recognizer, frames_NH))]
                for id, *of_id in zip(ids, *columns, strict=True):
                    rows.put(id, *of_id)
        return cls(rows, time.monotonic() - began)

    @torch.inference_mode()
    def hypotheses(self, recognizer: DeepSpeech2Recognizer, cuts: CutSet, adapter: MLPAdapter | None) -> dict[str, str]:
        """Return utterance id -> hypothesis, of the adapter or without one of the base's own head."""
        hypotheses: dict[str, str] = {}
        for ids, frames, logits, lengths in self._batches(cuts, recognizer.model.device):
            adapted = logits if adapter is None else adapter(frames, logits).logits
            hypotheses |= _decoded(recognizer, ids, adapted, lengths)
        return hypotheses

    @torch.inference_mode()
    def hypotheses_by_scale(
        self, recognizer: DeepSpeech2Recognizer, cuts: CutSet, adapter: MLPAdapter, scales: Sequence[float]
    ) -> dict[float, dict[str, str]]:
        """Return scale -> utterance id -> hypothesis of a residual adapter whose output is multiplied by the scale."""
        by_scale: dict[float, dict[str, str]] = {scale: {} for scale in scales}
        for ids, frames, logits, lengths in self._batches(cuts, recognizer.model.device):
            added = adapter.added_logits(frames)
            for scale in scales:
                by_scale[scale] |= _decoded(recognizer, ids, logits + scale * added, lengths)
        return by_scale

    def _batches(
        self, cuts: CutSet, device: torch.device, batch_size: int = 32
    ) -> Iterator[tuple[list[str], Tensor, Tensor, list[int]]]:
        """Yield (ids, frames (N, H), base logits (N, V), lengths), with utterances of similar length together."""
        ids = sorted((cut.id for cut in cuts), key=lambda id: -len(self.rows.get(id)[0]))
        for start in range(0, len(ids), batch_size):
            chosen = ids[start : start + batch_size]
            frames, logits = zip(*(self.rows.get(id) for id in chosen), strict=True)
            yield chosen, torch.cat(frames).to(device), torch.cat(logits).to(device), [len(row) for row in frames]


def _decoded(
    recognizer: DeepSpeech2Recognizer, ids: list[str], logits_NV: Tensor, lengths: list[int]
) -> dict[str, str]:
    logits_BUV = pad_sequence(list(torch.split(logits_NV, lengths)), batch_first=True)
    return dict(zip(ids, recognizer.decode(logits_BUV, torch.tensor(lengths)), strict=True))


@torch.inference_mode()
def _logits(recognizer: DeepSpeech2Recognizer, frames_NH: Tensor) -> Tensor:
    logits: Tensor = recognizer.model.head(frames_NH)
    return logits


class _Ids(Dataset[str]):
    def __getitem__(self, id: str) -> str:
        return id


class ShuffledBatches:
    """Batches of ids, shuffled reproducibly by (seed, epoch)."""

    def __init__(self, ids: Sequence[str], batch_size: int, seed: int) -> None:
        self.ids, self.batch_size, self.seed, self.epoch = sorted(ids), batch_size, seed, 0
        self.batch_sampler = self  # Trainer calls `loader.batch_sampler.batch_sampler.set_epoch`

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.ids) // self.batch_size)

    def __iter__(self) -> Iterator[list[str]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.ids))
        for start in range(0, len(order), self.batch_size):
            yield [self.ids[index] for index in order[start : start + self.batch_size]]


def encoder_output_loader(
    outputs: EncoderOutputs, labels: Mapping[str, list[int]], batch_size: int, *, seed: int
) -> DataLoader[Any]:
    """Return batches of `frames` (N, H), `base_logits` (N, V), `frame_lengths` (B,) and
    `labels` (B, L, padded with -100)."""

    def collate(ids: list[str]) -> dict[str, Any]:
        rows, logits = zip(*(outputs.rows.get(id) for id in ids), strict=True)
        targets = [torch.tensor(labels[id]) for id in ids]
        return {
            "frames": torch.cat(rows),
            "base_logits": torch.cat(logits),
            "frame_lengths": torch.tensor([len(row) for row in rows]),
            "labels": pad_sequence(targets, batch_first=True, padding_value=LABEL_PADDING),
        }

    return DataLoader(
        _Ids(),
        batch_sampler=ShuffledBatches(list(labels), batch_size, seed),
        collate_fn=collate,
        generator=torch.Generator(),
    )
