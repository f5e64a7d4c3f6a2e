"""Measure inference cost: relative speed in one process, and memory."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import psutil
import torch
from lhotse import CutSet

from asr_lab.data.batches import Batch, InOrder, loader
from asr_lab.models.recognizer import Recognizer
from asr_lab.system.resources import Clock

T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """Speed relative to another recogniser: median, slowest and fastest round."""

    share: float
    low: float
    high: float


def sample(cuts: CutSet, count: int) -> CutSet:
    """Return at most `count` utterances, spread evenly over the durations."""
    rows = sorted(cuts, key=lambda cut: (cut.duration, cut.id))
    count = min(count, len(rows))
    return CutSet.from_cuts(rows[(2 * index + 1) * len(rows) // (2 * count)] for index in range(count))


def batches(recognizer: Recognizer, cuts: CutSet, batch_size: int) -> list[Batch]:
    """Return the input batches of the utterances, read once."""
    return list(loader(InOrder(cuts, batch_size), recognizer.collator()))


def speeds(base: Recognizer, others: Mapping[str, Recognizer], inputs: list[Batch], rounds: int) -> dict[str, Speed]:
    """Return the speed of each recogniser relative to the base, from input batch to text.

    All transcribe the same batches in each round, in alternating order, so that a slow machine slows all of them. A
    first warm-up round is not counted.
    """
    recognizers = {"": base, **others}
    seconds: dict[str, list[float]] = {name: [] for name in recognizers}
    for number in range(rounds + 1):
        order = list(recognizers) if number % 2 else list(reversed(recognizers))
        for name in order:
            took = _seconds(recognizers[name], inputs)
            if number:
                seconds[name].append(took)
    shares = {name: [b / own for b, own in zip(seconds[""], seconds[name], strict=True)] for name in others}
    return {name: Speed(median(own), min(own), max(own)) for name, own in shares.items()}


@torch.inference_mode()
def _seconds(recognizer: Recognizer, inputs: Iterable[Batch]) -> float:
    began = time.perf_counter()
    for batch in inputs:
        recognizer.decode(*recognizer.logits(batch))  # the text is on the CPU, so the device has finished
    return time.perf_counter() - began


def with_memory(work: Callable[[], T]) -> tuple[T, float]:
    """Return (result of `work`, peak memory in MB above that before: of the GPU if there is one, else resident)."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated() / 1e6
    else:
        with suppress(OSError, AttributeError):  # glibc: return freed memory, whose reuse raises no peak
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = psutil.Process().memory_info().rss / 1e6
    clock = Clock()
    done = work()
    most = clock.peak_memory()
    return done, most.get("perf/peak_gpu_memory_mb", most["perf/peak_memory_mb"]) - before
