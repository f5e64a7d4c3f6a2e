"""Share of padding and updates of an epoch, on speechocean762's durations: our batches, random ones, length groups.

    python tests/bench/bench_padding.py [--values FILE]

Lengths alone are counted, nothing is computed: seconds. The mean of three epochs; each epoch has every utterance once.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable

import figures
import numpy as np
import torch
from bench_training import durations
from lhotse import CutSet, MonoCut
from transformers.trainer_pt_utils import LengthGroupedSampler

from asr_lab.data.batches import EpochBatches

SIZES = ((128, 8), (240, 16), (704, 16), (2000, 16))
EPOCHS = 3


def ours(seconds: list[float], size: int, epoch: int) -> Iterable[list[int]]:
    """The batches that `asr-lab train` makes."""
    cuts = CutSet.from_cuts(
        MonoCut(id=str(number), start=0.0, duration=one, channel=0) for number, one in enumerate(seconds)
    )
    batches = EpochBatches(cuts, size, seed=0)
    batches.epoch = epoch
    return ([place for place, _ in batch] for batch in batches)


def at_random(seconds: list[float], size: int, epoch: int) -> Iterable[list[int]]:
    return _in_order(np.random.default_rng(epoch).permutation(len(seconds)).tolist(), size)


def grouped(seconds: list[float], size: int, epoch: int) -> Iterable[list[int]]:
    """transformers' groups of similar length."""
    sampler = LengthGroupedSampler(size, lengths=seconds, generator=torch.Generator().manual_seed(epoch))
    return _in_order(list(sampler), size)


def _in_order(places: list[int], size: int) -> Iterable[list[int]]:
    return (places[start : start + size] for start in range(0, len(places), size))


WAYS: dict[str, Callable[[list[float], int, int], Iterable[list[int]]]] = {
    "ours": ours,
    "random": at_random,
    "grouped": grouped,
}


def padding(seconds: list[float], batches: Iterable[list[int]]) -> tuple[float, int]:
    """(Share of padding, number of batches); each utterance must be there once."""
    made = list(batches)
    assert sorted(place for batch in made for place in batch) == list(range(len(seconds)))
    padded = sum(len(batch) * max(seconds[place] for place in batch) for batch in made)
    return 1 - sum(seconds) / padded, len(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    figures.add_values_option(parser)
    asked = parser.parse_args()
    values: dict[str, figures.Value] = {}
    for utterances, size in SIZES:
        seconds = [float(one) for one in durations(None, utterances)]
        for name, way in WAYS.items():
            found = [padding(seconds, way(seconds, size, epoch)) for epoch in range(EPOCHS)]
            share, updates = statistics.mean(one[0] for one in found), statistics.mean(one[1] for one in found)
            print(
                f"{utterances:5} utterances, batches of {size:2}, {name:8} {share:6.1%} padding, {updates:5.1f} updates"
            )
            values |= {f"{name}_{utterances}_padding": share, f"{name}_{utterances}_updates": updates}
    figures.write(values, asked.values)


if __name__ == "__main__":
    main()
