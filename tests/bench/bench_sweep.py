"""What study and tracking cost a trial, and what a sweep of adapters costs beside its trainings.

`overhead`: trials that train nothing, each a run on a sqlite store with three metrics, proposed by TPE from a journal;
seconds a trial, of the whole and of its last hundred, and of processor time, which must be under 0.1 s.
`adapter`: the whole time of an adapter's sweep against one pass of the base and the sum of the trainings, which are the
recipe's own clocks. Must be at most 1.1 times. It needs a folder with a base and data that a sweep's config names.

    python tests/bench/bench_sweep.py overhead [--trials 1000]
    python tests/bench/bench_sweep.py adapter [--config experiments/sweeps/adapter.yaml] [--trials 30]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from asr_lab.system.terminal import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

import figures
import sweepers

from asr_lab.config.load import load
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.sweeps import sweep as sweeping
from asr_lab.sweeps.worker import Backends, Worker
from asr_lab.tracking import find_runs
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.tracking.tracker import MlflowTracker


def timed(trials: list[float], busy: list[float] | None = None) -> None:
    """Have each trial record its seconds, and in `busy` the processor seconds of all threads meanwhile."""
    run_one = Worker.run_one

    def noting(self: Worker) -> None:
        began, processor = time.perf_counter(), time.process_time()
        run_one(self)
        trials.append(time.perf_counter() - began)
        if busy is not None:
            busy.append(time.process_time() - processor)

    Worker.run_one = noting


def overhead(trials: int) -> dict[str, figures.Value]:
    """Return seconds of a trial that trains nothing, on the clock and of processor time, and those of all the rest."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        each: list[float] = []
        processor: list[float] = []
        timed(each, processor)
        began, busy = time.perf_counter(), time.process_time()
        backends = Backends(MlflowTracker, FolderStore, sweepers.sleeper)
        sweeping.sweep(sweepers.planned(), backends, Console(quiet=True), asked=trials, timeout_s=0)
        whole, busy = time.perf_counter() - began, time.process_time() - busy
        last = each[-100:]
        print(
            f"{trials} trials: {whole / trials:.3f} s each in all, with figures and page ({busy / trials:.3f} s of CPU)"
        )
        print(f"a trial: mean {statistics.mean(each):.3f} s, median {statistics.median(each):.3f} s")
        print(f"of the processor: mean {statistics.mean(processor):.3f} s, median {statistics.median(processor):.3f} s")
        print(f"the last {len(last)}: mean {statistics.mean(last):.3f} s, median {statistics.median(last):.3f} s")
        os.chdir("/")
    return {
        "trial_s": _quartiles(each),
        "trial_processor_s": _quartiles(processor),
        "sweep_end_processor_s": busy - sum(processor),
        "trials": float(trials),
    }


def _quartiles(values: list[float]) -> figures.Value:
    low, middle, high = statistics.quantiles(values)
    return {"value": middle, "low": low, "high": high}


def adapter(config: Path, trials: int) -> dict[str, figures.Value]:
    """Return a sweep's time as a multiple of one base pass and its trainings, with its figures and page and without."""
    each: list[float] = []
    timed(each)
    planned = sweeping.plan(load(config, {"name": f"bench-{os.getpid()}"}, "sweep"), "", "", "")
    began = time.perf_counter()
    found = sweeping.sweep(planned, Backends(MlflowTracker, MlflowStore), Console(), asked=trials, timeout_s=0)
    whole = time.perf_counter() - began
    runs = find_runs(where="tags.`asr_lab.sweep` = '" + planned.name + "'", children=True)
    parts = runs[runs["kind"] == "trial"]
    passed = float(runs.loc[found.run_id, "perf/base_pass_seconds"])
    trained = float(parts["perf/training_seconds"].sum())
    print(f"{trials} trials in {whole:.1f} s, of which trials {sum(each):.1f} s")
    print(f"one base pass {passed:.1f} s + trainings {trained:.1f} s = {passed + trained:.1f} s")
    needed = passed + trained
    print(f"{whole / needed:.3f} times with figures and page, {(passed + sum(each)) / needed:.3f} without")
    return {"sweep_ratio": whole / needed, "sweep_trials_ratio": (passed + sum(each)) / needed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "adapter"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--config", type=Path, default=Path("experiments/sweeps/adapter.yaml"))
    figures.add_values_option(parser)
    asked = parser.parse_args()
    file = asked.values and asked.values.resolve()
    if asked.what == "overhead":
        figures.write(overhead(asked.trials or 1000), file)
    else:
        figures.write(adapter(asked.config, asked.trials or 30), file)


if __name__ == "__main__":
    main()
