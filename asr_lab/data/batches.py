"""Batches of similar duration for transformers' Trainer.

A sampler chooses utterances by `(position, epoch)`; the dataset turns that into `(cut, epoch)`, and the collator reads
and augments it, in threads if there are any. The batches of an epoch are a function of the durations, the seed and the
epoch, so nothing has to be kept to go on within one: Trainer skips what was done, which builds no cut.

Shapes: N utterances, B of a batch, T feature frames, F mel bins, L labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_lab.data import columns, manifest
from asr_lab.data.audio import Signal
from asr_lab.data.augment import SoundAugmenter
from asr_lab.data.cut_audio import read_cut
from asr_lab.errors import AsrLabError

Index = tuple[Cut, int]
Chain = tuple[list[Cut], int]
"""An utterance, or several that are joined, and the epoch."""
Place = tuple[int, int]
Batch = dict[str, Any]

LABEL_PADDING = -100
NOT_FOR_THE_MODEL = ("cut_ids", "label_lengths")
_MOST_BUCKETS = 12
_BATCHES_A_BUCKET = 3  # at least
_AHEAD = 2  # batches for each thread


class Cuts(Dataset[Index]):
    """Utterances by `(position, epoch)`, a map-style dataset."""

    def __init__(self, cuts: CutSet) -> None:
        self.cuts = columns.indexed(cuts)

    def __getitem__(self, place: Place) -> Index:
        position, epoch = place
        return self.cuts[position], epoch


class EpochBatches:
    """Batch sampler for one rank: buckets of similar duration, shuffled by (seed, epoch).

    Each utterance is in one batch of an epoch, and every epoch has the same number of batches, of about the same size,
    `batch_size` at most. Where there are fewer utterances than an update has batches, some are in several. Updates do
    not depend on the number of ranks: two ranks equal one with `accumulate` 2.
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
        self.cuts, self.seed, self.epoch = cuts, seed, 0
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.batch_sampler = self  # Trainer calls `loader.batch_sampler.batch_sampler.set_epoch`
        self.num_updates = -(-len(cuts) // (batch_size * self._of_an_update))
        number = self.num_updates * self._of_an_update
        self.ends = np.arange(number + 1) * max(len(cuts), number) // number
        num_buckets = min(_MOST_BUCKETS, len(cuts) // (_BATCHES_A_BUCKET * batch_size))
        self.bucket_N = buckets(columns.durations(cuts), self.ends, num_buckets)

    @property
    def _of_an_update(self) -> int:
        return self.world_size * self.accumulate

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_updates * self.accumulate

    def __iter__(self) -> Iterator[list[Place]]:
        together = self._of_an_update
        draw = np.random.default_rng([self.seed, self.epoch])
        order = draw.permutation(len(self.bucket_N))
        order = np.resize(order[np.argsort(self.bucket_N[order], kind="stable")], self.ends[-1])
        for update in draw.permutation(self.num_updates).tolist():
            for batch in range(update * together + self.rank, (update + 1) * together, self.world_size):
                chosen = order[self.ends[batch] : self.ends[batch + 1]]
                yield [(position, self.epoch) for position in chosen.tolist()]


def buckets(duration_s: npt.NDArray[np.float64], ends: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int8]:
    """Return the bucket of each utterance (N,): by duration, each with about the same share of all seconds.

    `ends` are those of the batches among N utterances: each bucket is some whole batches.
    """
    bucket_N = np.zeros(len(duration_s), np.int8)
    if number > 1:
        order = np.argsort(duration_s, kind="stable")
        seconds = np.cumsum(duration_s[order])
        bounds = np.searchsorted(seconds, seconds[-1] * np.arange(1, number) / number)
        nearest = ends[np.searchsorted((ends[1:] + ends[:-1]) / 2, bounds)]
        bucket_N[order] = np.searchsorted(nearest, np.arange(len(order)), side="right")
    return bucket_N


class InOrder:
    """Evaluation batches, longest first: little padding, and the peak memory comes first."""

    def __init__(self, cuts: CutSet, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self.cuts = cuts
        rank_N = np.empty(len(cuts), np.int64)
        rank_N[columns.by_id(cuts)] = np.arange(len(cuts))
        ordered = np.lexsort([rank_N, -columns.durations(cuts)])
        self.positions = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)][rank::world_size]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[list[Place]]:
        return iter([[(position, 0) for position in batch.tolist()] for batch in self.positions])

    @property
    def batches(self) -> Iterator[list[Cut]]:
        """The utterances of each batch."""
        cuts = columns.indexed(self.cuts)
        return ([cuts[position] for position in batch.tolist()] for batch in self.positions)

    @property
    def chosen(self) -> CutSet:
        """The utterances of all batches, in their order."""
        return columns.take(self.cuts, np.concatenate([np.empty(0, np.int64), *self.positions]))


@dataclass(frozen=True)
class Collator:
    """Read, augment and pad a batch of filter banks.

    Returns `input_features` (B, T, F), `feature_lengths` (B,), `labels` (B, L) padded with -100, `label_lengths`
    (B,) and `cut_ids`, that of the first for joined utterances; no labels without `encode`.
    """

    extract: Callable[[Signal], Tensor]
    encode: Callable[[str], list[int]] | None = None
    augmenter: SoundAugmenter | None = None

    def __call__(self, indices: Sequence[Index]) -> Batch:
        chains = self._chains(indices)
        batch = self.inputs(chains)
        batch["cut_ids"] = [chain[0].id for chain, _ in chains]
        if self.encode is not None:
            texts = [" ".join(manifest.text(cut) for cut in chain) for chain, _ in chains]
            labels = [torch.tensor(self.encode(text)) for text in texts]
            batch["labels"] = pad_sequence(labels, batch_first=True, padding_value=LABEL_PADDING).long()
            batch["label_lengths"] = torch.tensor([len(one) for one in labels])
        return batch

    def _chains(self, indices: Sequence[Index]) -> list[Chain]:
        """Return the utterances, joined if augmentation says so, and the epoch."""
        joiner = self.augmenter.joiner if self.augmenter else None
        if joiner is None:
            return [([cut], epoch) for cut, epoch in indices]
        epoch = indices[0][1]
        return [(chain, epoch) for chain in joiner.chains([cut for cut, _ in indices], epoch)]

    def inputs(self, chains: Sequence[Chain]) -> Batch:
        """Return the padded model inputs of these utterances."""
        return self.pad([self._features(chain, epoch) for chain, epoch in chains])

    def _features(self, chain: Sequence[Cut], epoch: int) -> Tensor:
        """Return the augmented features of a chain; errors name its first utterance."""
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
        return self.augmenter.features(features, cut.id, epoch, len(chain))

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


class _Task:
    """A batch that a thread makes; asking for it also begins those behind it."""

    def __init__(self, begin: Callable[[], Future[Batch]], behind: deque[_Task]) -> None:
        self._begin, self._behind = begin, behind

    @cached_property
    def begun(self) -> Future[Batch]:
        return self._begin()

    def batch(self) -> Batch:
        for task in (self, *self._behind):
            task.begun  # noqa: B018
        return self.begun.result()


class _InThreads:
    """The batches of a sampler as tasks; threads make some ahead of the one that is asked for.

    Decoding, resampling and filter banks run outside of Python's lock. Processes would take a quarter more processor
    time, for shared memory, and time to start. Batches that Trainer skips when it resumes are never begun.
    """

    def __init__(self, sampler: EpochBatches | InOrder, make: Callable[[list[Place]], Batch], threads: int) -> None:
        self.batch_sampler, self._make, self._threads = sampler, make, threads

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch: accelerate's sampler that skips batches has this one as its `batch_sampler`."""
        assert isinstance(self.batch_sampler, EpochBatches)
        self.batch_sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[_Task]:
        batches, waiting = iter(self.batch_sampler), deque[_Task]()
        torch.get_num_threads()  # fixes that of this thread, else its first computation adopts the number below
        pool = ThreadPoolExecutor(self._threads, "batches", partial(torch.set_num_threads, 1))
        try:
            while True:
                for places in islice(batches, 1 + _AHEAD * self._threads - len(waiting)):
                    waiting.append(_Task(partial(pool.submit, self._make, places), waiting))
                if not waiting:
                    return
                yield waiting.popleft()
        finally:  # at the end of the epoch, or if it is left early: begin nothing more
            pool.shutdown(wait=False, cancel_futures=True)


class _Tasks(Dataset[Batch]):
    """A map-style dataset, whose indices are tasks."""

    def __getitems__(self, task: _Task) -> Batch:
        return task.batch()


def loader(
    sampler: EpochBatches | InOrder, collator: Callable[[Sequence[Index]], Any], num_workers: int = 0
) -> DataLoader[Any]:
    """Return a loader for transformers' Trainer, in which threads read ahead; accelerate must not prepare it."""
    cuts = Cuts(sampler.cuts)
    own = torch.Generator()  # the global one belongs to the model
    if not num_workers:
        return DataLoader(cuts, batch_sampler=sampler, collate_fn=collator, generator=own)
    tasks: Any = _InThreads(sampler, lambda places: collator([cuts[place] for place in places]), num_workers)
    return DataLoader(_Tasks(), batch_sampler=tasks, collate_fn=lambda batch: batch, generator=own)
