"""A frozen base's frames, computed once and kept: what adapters learn from.

Legend: B utterances, U frames, H base output, L labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lhotse import CutSet
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_lab.data.batches import LABEL_PADDING
from asr_lab.models.adapter import MLPAdapter
from asr_lab.models.recognizer import Recognizer


@dataclass(frozen=True)
class Frames:
    """Utterance id -> the base's output (U, H), and the seconds it took to compute them."""

    by_id: dict[str, Tensor]
    seconds: float

    @classmethod
    def of(cls, recognizer: Recognizer, cuts: CutSet, console: Console, batch_size: int = 16) -> Frames:
        """One pass of the base over each utterance."""
        began = time.monotonic()
        by_id: dict[str, Tensor] = {}
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("one pass of the base", total=len(cuts))
            for ids, frames_BUH, lengths_B in recognizer.encoded(
                cuts, batch_size, lambda done: bar.advance(task, done)
            ):
                rows = zip(ids, frames_BUH.cpu(), lengths_B.tolist(), strict=True)
                by_id |= {id: frames[:length].clone() for id, frames, length in rows}
        return cls(by_id, time.monotonic() - began)

    @torch.inference_mode()
    def hypotheses(
        self, recognizer: Recognizer, cuts: CutSet, adapter: MLPAdapter | None, batch_size: int = 32
    ) -> dict[str, str]:
        """Utterance id -> text by the adapter, or by the base's own head where there is none."""
        head = adapter.layers.to(recognizer.model.device) if adapter else recognizer.model.head
        ids = sorted((cut.id for cut in cuts), key=lambda id: -len(self.by_id[id]))
        found: dict[str, str] = {}
        for start in range(0, len(ids), batch_size):
            chosen = ids[start : start + batch_size]
            rows = [self.by_id[id] for id in chosen]
            logits = head(pad_sequence(rows, batch_first=True).to(recognizer.model.device))
            lengths = torch.tensor([len(row) for row in rows])
            found |= zip(chosen, recognizer.decode(logits, lengths), strict=True)
        return found


class _Ids(Dataset[str]):
    def __getitem__(self, id: str) -> str:
        return id


class ShuffledBatches:
    """Batches of ids in an order drawn from (seed, epoch): the same each time a run is made."""

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


def frame_loader(frames: Frames, labels: Mapping[str, list[int]], batch_size: int, *, seed: int) -> DataLoader[Any]:
    """Batches of `frames` (sum of lengths, H), `frame_lengths` (B,) and `labels` (B, L) padded with -100."""

    def collate(ids: list[str]) -> dict[str, Any]:
        rows = [frames.by_id[id] for id in ids]
        targets = [torch.tensor(labels[id]) for id in ids]
        return {
            "frames": torch.cat(rows),
            "frame_lengths": torch.tensor([len(row) for row in rows]),
            "labels": pad_sequence(targets, batch_first=True, padding_value=LABEL_PADDING),
        }

    return DataLoader(
        _Ids(),
        batch_sampler=ShuffledBatches(list(labels), batch_size, seed),
        collate_fn=collate,
        generator=torch.Generator(),
    )
