"""Batches of similar duration for transformers' Trainer, from Lhotse's sampler.

An index is `(cut, epoch)`: the sampler chooses utterances, the collator reads and augments them. Trainer needs a fixed
number of batches per epoch and a `batch_sampler` that it can skip on resume; `EpochBatches` adds both to Lhotse's
sampler.

Shapes: B utterances, T feature frames, F mel bins, L labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler, SimpleCutSampler
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_lab.data import manifest
from asr_lab.data.audio import Signal, read_cut
from asr_lab.data.augment import SoundAugmenter
from asr_lab.errors import AsrLabError

Index = tuple[Cut, int]
Chain = tuple[list[Cut], int]
"""An utterance with those that are joined to it, and the epoch."""
Batch = dict[str, Any]

LABEL_PADDING = -100
NOT_FOR_THE_MODEL = ("cut_ids", "label_lengths")
_MOST_BUCKETS = 10
_TOP_UP_EPOCH = 1_000_000  # an epoch that no training reaches, to fill up epochs with too few batches

warnings.filterwarnings("ignore", message=".*DynamicBucketingSampler with an eagerly read CutSet.*")


class Indices(Dataset[Index]):
    """A map-style dataset that returns the index."""

    def __getitem__(self, index: Index) -> Index:
        return index


class EpochBatches:
    """Batch sampler for one rank: buckets of similar duration, shuffled by (seed, epoch).

    Trainer reads `len` once, so every epoch has the number of batches of epoch 0: longer epochs of Lhotse's sampler
    are truncated, shorter ones filled up. Updates are shuffled again because Lhotse visits its buckets in the same
    order every epoch. Updates do not depend on the number of ranks: two ranks equal one with `accumulate` 2.
    """

    def __init__(
        self,
        cuts: CutSet,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.cuts, self.batch_size, self.seed = cuts, batch_size, seed
        self.rank, self.world_size, self.accumulate, self.epoch = rank, world_size, accumulate, 0
        self.batch_sampler = self  # Trainer calls `loader.batch_sampler.batch_sampler.set_epoch`
        self.num_updates = -(-sum(1 for _ in self._epoch(0)) // self._of_an_update)

    @property
    def _of_an_update(self) -> int:
        return self.world_size * self.accumulate

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_updates * self.accumulate

    def __iter__(self) -> Iterator[list[Index]]:
        together = self._of_an_update
        batches = list(islice(self._epoch(self.epoch), self.num_updates * together))
        missing = self.num_updates * together - len(batches)
        if missing:
            batches += islice(cycle(self._epoch(self.epoch + _TOP_UP_EPOCH)), missing)
        for update in np.random.default_rng([self.seed, self.epoch]).permutation(self.num_updates):
            for batch in batches[update * together + self.rank : (update + 1) * together : self.world_size]:
                yield [(cut, self.epoch) for cut in batch]

    def _epoch(self, epoch: int) -> Iterator[CutSet]:
        common: dict[str, Any] = {
            "max_cuts": self.batch_size,
            "shuffle": True,
            "seed": self.seed,
            "rank": 0,  # all batches; `__iter__` selects those of this rank
            "world_size": 1,
        }
        num_buckets = min(_MOST_BUCKETS, len(self.cuts) // (4 * self.batch_size))
        if num_buckets < 2:
            sampler = SimpleCutSampler(self.cuts, drop_last=False, **common)
        else:  # sync_buckets=False would lose utterances each epoch, a third of them on a corpus of 200
            sampler = DynamicBucketingSampler(self.cuts, num_buckets=num_buckets, sync_buckets=True, **common)
        sampler.set_epoch(epoch)
        yield from sampler


class InOrder:
    """Evaluation batches, longest first: little padding, and the peak memory comes first."""

    def __init__(self, cuts: CutSet, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        ordered = sorted(cuts, key=lambda cut: (-cut.duration, cut.id))
        self.batches = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)][rank::world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Index]]:
        return iter([[(cut, 0) for cut in batch] for batch in self.batches])


@dataclass(frozen=True)
class Collator:
    """Read, augment and pad a batch of filter banks.

    Returns `input_features` (B, T, F), `feature_lengths` (B,), `labels` (B, L) padded with -100, `label_lengths`
    (B,) and `cut_ids`; no labels without `encode`.
    """

    extract: Callable[[Signal], Tensor]
    encode: Callable[[str], list[int]] | None = None
    augmenter: SoundAugmenter | None = None

    def __call__(self, indices: Sequence[Index]) -> Batch:
        chains = self._chains(indices)
        batch = self.inputs(chains)
        batch["cut_ids"] = [cut.id for cut, _ in indices]
        if self.encode is not None:
            texts = [" ".join(manifest.text(cut) for cut in chain) for chain, _ in chains]
            labels = [torch.tensor(self.encode(text)) for text in texts]
            batch["labels"] = pad_sequence(labels, batch_first=True, padding_value=LABEL_PADDING).long()
            batch["label_lengths"] = torch.tensor([len(one) for one in labels])
        return batch

    def _chains(self, indices: Sequence[Index]) -> list[Chain]:
        """Return each utterance with those that augmentation joins to it, and the epoch."""
        joiner = self.augmenter.joiner if self.augmenter else None
        if joiner is None:
            return [([cut], epoch) for cut, epoch in indices]
        chains = joiner.chains([cut for cut, _ in indices], indices[0][1])
        return [(chain, epoch) for chain, (_, epoch) in zip(chains, indices, strict=True)]

    def inputs(self, chains: Sequence[Chain]) -> Batch:
        """Return the padded model inputs of these utterances."""
        return self.pad([self._features(chain, epoch) for chain, epoch in chains])

    def _features(self, chain: Sequence[Cut], epoch: int) -> Tensor:
        """Return the augmented features of an utterance and those joined to it; errors name the utterance."""
        cut = chain[0]
        signals = [read_cut(one) for one in chain]
        try:
            if self.augmenter is None:
                return self.extract(signals[0])
            samples = self.augmenter.samples(self.augmenter.joined(signals, cut.id, epoch), cut.id, epoch)
            features = self.extract(samples)
        except AsrLabError as error:
            error.where = error.where or f"utterance {cut.id}"
            raise
        return self.augmenter.features(features, cut.id, epoch)

    @staticmethod
    def pad(features: Sequence[Tensor]) -> Batch:
        """Pad features (T, F) to a batch."""
        return {
            "input_features": pad_sequence(list(features), batch_first=True),
            "feature_lengths": torch.tensor([len(one) for one in features]),
        }


def for_model(batch: Batch, device: torch.device | None = None) -> Batch:
    """Return the inputs of a model's `forward`, on its device."""
    return {key: batch[key].to(device) for key in batch if key not in NOT_FOR_THE_MODEL}


class _Loader(DataLoader[Any]):
    """Loader that raises errors of worker processes without PyTorch's traceback."""

    def __iter__(self) -> Any:
        try:
            yield from super().__iter__()
        except AsrLabError as error:  # PyTorch puts the worker's traceback around the message
            _, in_a_worker, message = error.what.rpartition("AsrLabError: ")
            if not in_a_worker:
                raise
            raise AsrLabError(message.rstrip()) from None


def loader(sampler: EpochBatches | InOrder, collator: Collator, num_workers: int = 0) -> DataLoader[Any]:
    """Return a loader for transformers' Trainer; accelerate must not prepare it."""
    return _Loader(
        Indices(),
        batch_sampler=sampler,
        collate_fn=collator,
        num_workers=num_workers,
        generator=torch.Generator(),  # its own: the global one belongs to the model
    )
