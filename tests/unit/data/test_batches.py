"""The batches of an epoch: each utterance once, on any number of ranks and workers, also after a stop."""

import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from accelerate.data_loader import skip_first_batches
from lhotse import CutSet
from manifests import row, written

from asr_lab.data import manifest
from asr_lab.data.batches import Collator, EpochBatches, InOrder, buckets, loader
from asr_lab.data.features import extract
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "all.jsonl.gz"
    return CutSet(Utterances.read(written(path, [row(number) for number in range(997)])))


def ids_of(batch):
    return [cut.id for cut, _ in batch]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_two_ranks_with_a_stop_and_other_workers_read_each_utterance_once(cuts, num_workers, accumulate):
    read = []
    for rank in range(2):
        sampler = EpochBatches(cuts, 8, seed=1, rank=rank, world_size=2, accumulate=accumulate)
        sampler.set_epoch(3)
        whole = [[cuts[place].id for place, _ in batch] for batch in sampler]
        stop = len(whole) // 2
        before = [ids for ids, _ in zip(loader(sampler, ids_of, num_workers), range(stop), strict=False)]
        resumed = EpochBatches(cuts, 8, seed=1, rank=rank, world_size=2, accumulate=accumulate)
        rest = skip_first_batches(loader(resumed, ids_of, 1 if num_workers else 0), stop)
        resumed.set_epoch(3)
        behind = list(rest)
        assert before + behind == whole
        assert len(whole) == len(sampler)
        read += [id for batch in whole for id in batch]
    assert sorted(read) == sorted(cut.id for cut in cuts)


def test_threads_begin_no_batch_that_is_skipped_and_read_ahead_of_the_others(cuts):
    sampler, begun, second = EpochBatches(cuts, 8), [], Event()

    def noted(batch):
        begun.append(ids_of(batch))
        if len(begun) == 2:
            second.set()
        return begun[-1]

    whole = [[cuts[place].id for place, _ in batch] for batch in sampler]
    rest = iter(skip_first_batches(loader(sampler, noted, num_workers=1), 100))
    assert next(rest) == whole[100]
    assert second.wait(30)
    assert begun[:2] == whole[100:102]
    assert [whole[100], *rest] == whole[100:]


def test_an_epoch_that_is_left_ends_its_threads_and_begins_no_other_batch(cuts):
    begun, go_on = [], Event()

    def noted(batch):
        begun.append(ids_of(batch))
        if len(begun) > 1:
            go_on.wait(30)
        return begun[-1]

    before = set(threading.enumerate())
    epoch = iter(loader(EpochBatches(cuts, 8), noted, num_workers=1))
    next(epoch)
    (own,) = set(threading.enumerate()) - before
    del epoch
    go_on.set()
    own.join(30)
    assert not own.is_alive()
    assert len(begun) <= 2


def test_loader_threads_leave_the_training_its_own_number_of_threads(cuts):
    def trains():
        torch.set_num_threads(2)
        list(loader(EpochBatches(cuts, 100), ids_of, num_workers=1))
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as training:
        assert training.submit(trains).result() == 2


@pytest.mark.parametrize("skipped", [0, 3])
def test_an_error_in_a_thread_is_raised_as_it_is(cuts, skipped):
    def fail(batch):
        raise AsrLabError("the audio is cut off", where="a.wav")

    with pytest.raises(AsrLabError) as error:
        next(iter(skip_first_batches(loader(EpochBatches(cuts, 8), fail, num_workers=2), skipped)))
    assert (error.value.what, error.value.where) == ("the audio is cut off", "a.wav")


def test_updates_of_two_ranks_are_those_of_one_that_accumulates_two(cuts):
    one = list(EpochBatches(cuts, 8, accumulate=2))
    two = [list(EpochBatches(cuts, 8, rank=rank, world_size=2)) for rank in range(2)]
    assert one == [batch for pair in zip(*two, strict=True) for batch in pair]


def test_fewer_utterances_than_batches_of_an_update_are_enough(cuts):
    few = CutSet.from_cuts(list(cuts)[:3])
    ranks = [list(EpochBatches(few, 8, rank=rank, world_size=4)) for rank in range(4)]
    assert [len(batches) for batches in ranks] == [1] * 4
    assert {place for batches in ranks for batch in batches for place, _ in batch} == {0, 1, 2}


def test_buckets_are_whole_batches_of_similar_duration_with_about_the_same_seconds():
    duration_s = np.random.default_rng(0).lognormal(1.8, 0.5, 10_000)
    ends = np.arange(626) * 10_000 // 625
    bucket = buckets(duration_s, ends, 10)
    seconds = np.bincount(bucket, duration_s)
    assert len(seconds) == 10
    assert seconds.max() / seconds.min() < 1.1
    assert set(np.cumsum(np.bincount(bucket))) <= set(ends)
    assert (np.diff(bucket[np.argsort(duration_s, kind="stable")]) >= 0).all()


def test_every_epoch_has_the_same_number_of_batches_and_another_order(corpus):
    cuts = manifest.read(corpus)
    batches = EpochBatches(cuts, 5)
    orders = []
    for epoch in range(4):
        batches.set_epoch(epoch)
        rows = list(batches)
        assert len(rows) == len(batches)
        assert all(number == epoch for batch in rows for _, number in batch)
        orders.append([cuts[place].id for batch in rows for place, _ in batch])
    assert orders[0] != orders[1]
    batches.set_epoch(1)
    assert [cuts[place].id for batch in batches for place, _ in batch] == orders[1]
    assert set(orders[0]) == {f"u{i:02d}" for i in range(24)}


def test_ranks_share_an_epoch_without_overlap(corpus):
    cuts = manifest.read(corpus)
    ranks = [EpochBatches(cuts, 4, rank=rank, world_size=2) for rank in range(2)]
    heard = [[place for batch in sampler for place, _ in batch] for sampler in ranks]
    assert len(ranks[0]) == len(ranks[1])
    assert not set(heard[0]) & set(heard[1])


def test_a_batch_is_padded_and_has_lengths(corpus):
    cuts = manifest.read(corpus)
    batch = next(iter(loader(InOrder(cuts, 3), Collator(extract, lambda text: [1] * len(text)))))
    assert batch["input_features"].shape[0] == 3
    assert batch["input_features"].shape[1] == batch["feature_lengths"].max()
    assert (batch["labels"] >= 0).sum(1).tolist() == batch["label_lengths"].tolist()
    assert len(batch["cut_ids"]) == 3
