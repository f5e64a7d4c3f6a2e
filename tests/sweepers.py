"""A sweep whose trials train nothing, as a process of its own: to be killed, to be joined, to be timed.

    python tests/sweepers.py --trials 8 [--engine local --jobs 2] [--storage URL] [--join] [--host NAME]
        [--clock 600] [--sleep 0.2] [--wait]

Its trials sleep (`--wait`: until the file `go` is there) and log a figure that a parabola of the learning rate gives;
each leaves a line in `begun.txt`.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from functools import partial
from pathlib import Path

import yaml

from asr_lab.config.load import load
from asr_lab.engines.engine import Resources, make_engine
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.recipes.run_spec import describe
from asr_lab.sweeps import sweep as sweeping
from asr_lab.sweeps.worker import Backends
from asr_lab.system import processes
from asr_lab.system.files import write_text
from asr_lab.system.stopping import ending_quietly
from asr_lab.system.terminal import Console
from asr_lab.tracking.tracker import MlflowTracker

SWEEP = {
    "recipe": "sweep",
    "name": "sleepers",
    "experiment": "experiment.yaml",
    "space": {
        "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.hidden_size": {"low": 32, "high": 256, "log": True},
    },
    "objective": "val/wer",
    "heartbeat_s": 3,
    "models": "none",
}


class Training:
    """What a function trains; nothing is shared by its trials."""

    def __init__(self, train) -> None:
        self.train = train

    def __call__(self, config, tracker) -> None:
        self.train(config, tracker)

    def prepare(self, some, console) -> dict[str, float]:
        return {}


class Sleeper(Training):
    """Trains nothing."""

    def __init__(self, sleep: float, waits: bool) -> None:
        self.sleep, self.waits = sleep, waits

    def __call__(self, config, tracker) -> None:
        spec = describe(
            config, family="deepspeech2", kind="train", model_type="deepspeech2", name="sleeper", data={"train": "d1"}
        )
        with tracker.start(spec) as run:
            with Path("begun.txt").open("a") as file:
                file.write(f"{run.run_id} {os.getpid()} {config.train.lr!r}\n")
            time.sleep(self.sleep)
            while self.waits and not Path("go").exists():
                time.sleep(0.1)
            wer = 0.1 + 0.1 * (math.log10(config.train.lr) + 3) ** 2
            run.metrics({"val/wer": wer, "val/cer": wer / 3, "train/loss": wer * 5}, 10)


def sleeper(recipe, store, folder, sleep=0.0, waits=False):
    return Sleeper(sleep, waits)


def written(name: str, content: str) -> None:
    """Several processes of a test write the same files, while others read them."""
    write_text(Path(name), content)


def planned(storage: str = "", **more):
    """The sweep of trials that train nothing; `more` are keys that are other than above."""
    written("experiment.yaml", "recipe: deepspeech2\ndata: {train: t, val: v, test: ''}\n")
    written("sleepers.yaml", yaml.safe_dump(SWEEP | more))
    config = load(Path("sleepers.yaml"), {}, "sweep")
    return sweeping.plan(config, "sleepers", storage, os.environ["MLFLOW_TRACKING_URI"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--engine", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--job", type=int, default=0)
    parser.add_argument("--broken", action="store_true", help="Jobs have no tracking store.")
    parser.add_argument("--storage", default="")
    parser.add_argument("--join", action="store_true")
    parser.add_argument("--host", default="")
    parser.add_argument("--clock", type=float, default=0.0, help="Seconds by which the clock of the host is off.")
    parser.add_argument("--sleep", type=float, default=0.2)
    parser.add_argument("--wait", action="store_true")
    asked = parser.parse_args()
    if asked.host:
        processes.socket.gethostname = lambda: asked.host
    clock = time.time
    time.time = lambda: clock() + asked.clock
    tracker = partial(unreachable) if asked.broken and asked.job else MlflowTracker
    backends = Backends(tracker, FolderStore, partial(sleeper, sleep=asked.sleep, waits=asked.wait))
    plan, console = planned(asked.storage), Console(width=200)
    if asked.job:
        sweeping.run_job(plan, backends, asked.job)
        return
    jobs = jobs_of(asked.engine, asked.jobs) if asked.engine else None
    if asked.join:
        sweeping.join(plan, backends, console, timeout_s=0, jobs=jobs)
        return
    result = sweeping.sweep(plan, backends, console, asked=asked.trials, timeout_s=0, jobs=jobs)
    print(result.table().to_string())


def unreachable() -> MlflowTracker:
    raise AsrLabError("the store of runs is out of reach")


def jobs_of(engine: str, count: int) -> sweeping.Jobs:
    """Jobs of this program, with what it was told."""
    words = [sys.executable, *sys.argv]
    engine = make_engine(engine, Path("jobs"), Resources())
    return sweeping.Jobs(engine, count, lambda number: [*words, "--job", str(number)])


if __name__ == "__main__":
    with ending_quietly(lambda *_: None):
        try:
            main()
        except AsrLabError as error:
            sys.exit(f"Error: {error}")
