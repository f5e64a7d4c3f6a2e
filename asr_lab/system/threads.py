"""How a training on CPU shares the cores with other work: it takes as many threads as there are free cores.

An update is cut into pieces that all threads compute, and behind each piece they wait for each other. Beside other work
one of them always waits for its core, and the others with it: 8 busy processes on 2 cores slow two threads down some 20
times, one thread 6 times. How threads wait (OMP_WAIT_POLICY, GOMP_SPINCOUNT) is left as it is: what spins less gains a
fifth beside 2 busy processes, nothing beside 8, and is a tenth to a quarter slower on free cores.
Figures: `tests/bench/bench_threads.py`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass

import psutil

_SAMPLES, _SAMPLE_S = 5, 0.1
_SHAPES = "64"  # far more than one update needs: training is no slower
_chosen_here = False  # whether the number of threads of this process is the choice of `use_threads`


@dataclass(frozen=True)
class Threads:
    """The chosen number of threads, the cores that this process may use, and how many of them are free."""

    number: int
    cores: int
    free: float

    def __str__(self) -> str:
        """Return a line about a choice that is not the usual one, or ""."""
        if self.number == self.cores:
            return ""
        busy = f"{self.cores - self.free:.1f} of {self.cores} cores are busy with other work"
        return f"{busy}: {self.number} thread{'s' * (self.number > 1)} (run.threads={self.cores} takes all)"


def choose() -> Threads:
    """Choose one thread per free core, at least one; OMP_NUM_THREADS if the user, or torchrun, set it.

    Cores are those that this process may use. Watches them for half a second, and prints a line on stderr where some
    are busy.
    """
    cores = usable_cores()
    if asked := _asked_for():
        return Threads(asked, asked, float(asked))
    if len(cores) == 1:
        return Threads(1, 1, 1.0)
    free = len(cores) - busy_cores(cores)
    chosen = Threads(max(1, round(free)), len(cores), free)
    if line := str(chosen):
        print(line, file=sys.stderr)
    return chosen


def _asked_for() -> int:
    """Return the first number of OMP_NUM_THREADS (`4`, or `4,2` for nested regions); 0 if it is not set."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() else 0


def use_threads(number: int) -> None:
    """Use this number of threads from now on; 0: as many as `choose` returns.

    To be called before any computing. oneDNN keeps a program for each shape it has met, 1,024 of them: of batches of
    ever other lengths that is gigabytes.
    """
    import torch

    global _chosen_here
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _SHAPES)
    _chosen_here = not number and not _asked_for()
    torch.set_num_threads(number or choose().number)


def restore_threads(number: int) -> None:
    """Compute with as many threads as before a cut, unless their number was asked for: other sums round otherwise."""
    import torch

    if _chosen_here and number <= len(usable_cores()):
        torch.set_num_threads(number)


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def busy_cores(cores: list[int]) -> float:
    """Return how many of these cores are busy while this process rests: the median over some tenths of a second."""
    samples = []
    before = psutil.cpu_times(percpu=True)
    for _ in range(_SAMPLES):
        time.sleep(_SAMPLE_S)
        after = psutil.cpu_times(percpu=True)
        samples.append(sum(_busy(before[core], after[core]) for core in cores if core < len(after)))
        before = after
    return statistics.median(samples)


def _busy(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """Return the share of the time between two readings of a core in which it was busy."""
    idle = sum(getattr(after, name, 0) - getattr(before, name, 0) for name in ("idle", "iowait"))
    passed = sum(after[:8]) - sum(before[:8])  # guests are counted in user time
    return min(1.0, max(0.0, 1 - idle / passed)) if passed else 0.0
