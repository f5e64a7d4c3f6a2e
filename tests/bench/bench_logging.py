"""What logging ten metrics costs a training step of 100 ms, on a sqlite file and on an `mlflow server`.

Both arms make the same steps, one logs and one does not; they take turns, block by block, and medians of the blocks
are compared. `wait`: a step sleeps, and the clock is read: what the training thread itself pays. `work`: a step
computes, a block ends when the store has all its points, and the processor time of the whole process is read: what
logging and shipping take where training needs every core. What the server itself takes is not counted.

    python tests/bench/bench_logging.py [--blocks 7] [--steps 60] [--step-ms 100]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import figures
import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1]))

from outages import NAMES, Server, spec

from asr_lab.tracking.tracker import MlflowRecorder, MlflowTracker


def wait(seconds: float) -> Callable[[], None]:
    """A step in which this thread sleeps."""
    return lambda: time.sleep(seconds)


def work(seconds: float) -> Callable[[], None]:
    """A step of a fixed number of matrix products, which take about `seconds` of the processor here."""
    matrix = np.random.default_rng(0).normal(size=(200, 200))

    def products(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            matrix @ matrix
        return time.process_time() - began

    products(100)
    count = max(1, round(1000 * seconds / min(products(1000) for _ in range(3))))
    return lambda: void(products(count))


def void(_: float) -> None: ...


def block(step: Callable[[], None], steps: int, first: int, run: MlflowRecorder | None, *, ship: bool) -> float:
    """Seconds a step; with `ship`, of processor time, until everything is shipped."""
    clock = time.process_time if ship else time.perf_counter
    began = clock()
    for number in range(first, first + steps):
        step()
        if run:
            run.metrics({name: float(number) for name in NAMES}, number)
    if run and ship:
        run.flush()
    return (clock() - began) / steps


def compare(step: Callable[[], None], blocks: int, steps: int, label: str, *, ship: bool) -> tuple[float, float]:
    """Print what a step takes with and without logging; return the share that logging adds, and microseconds a call."""
    plain, logging, alone = [], [], []
    with MlflowTracker(new_run=True).start(spec(name=label.replace(" ", "-"))) as run:
        for number in track(range(blocks), label, transient=True):
            run.flush()  # what the block before left is not for this one
            plain.append(block(step, steps, 0, None, ship=ship))
            logging.append(block(step, steps, number * steps, run, ship=ship))
            alone.append(block(lambda: None, steps, (blocks + number) * steps, run, ship=False))
    before, after = statistics.median(plain), statistics.median(logging)
    print(
        f"{label:14} step {before * 1e3:7.2f} ms, with ten metrics {after * 1e3:7.2f} ms: "
        f"{after / before - 1:+.2%}; the call itself {statistics.median(alone) * 1e6:.0f} us, "
        f"{statistics.median(alone) / before:.2%} of a step"
    )
    return after / before - 1, statistics.median(alone) * 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--blocks", type=int, default=7)
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--step-ms", type=float, default=100.0)
    figures.add_values_option(options)
    chosen = options.parse_args()
    file, values = chosen.values and chosen.values.resolve(), {}
    steps = {"wait": wait(chosen.step_ms / 1e3), "work": work(chosen.step_ms / 1e3)}
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        server = Server(Path(name))
        try:
            for store, uri in (("sqlite", f"sqlite:///{name}/mlflow.db"), ("server", server.uri)):
                os.environ["MLFLOW_TRACKING_URI"] = uri
                for kind, step in steps.items():
                    label = f"{store} {kind}"
                    added, call_us = compare(step, chosen.blocks, chosen.steps, label, ship=kind == "work")
                    values |= {f"logging_{store}_{kind}_share": added, f"logging_{store}_{kind}_call_us": call_us}
        finally:
            server.kill()
    figures.write(values, file)


if __name__ == "__main__":
    main()
