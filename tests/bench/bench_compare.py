"""`asr-lab compare --pattern` beside a script with the bare `MlflowClient`, whole process against whole process.

    python tests/bench/bench_compare.py FOLDER        (makes the store of build_store.py where there is none)

The bare script asks the store the same questions and gets the same runs; it prints nothing but their number. Each is
run several times, in turns, and the medians are compared; peak memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import figures
from build_store import build

from asr_lab.tracking.queries import filters

BARE = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiments = [one.experiment_id for one in client.search_experiments()]
found = {}
for query in sys.argv[2:]:
    token = None
    while True:
        page = client.search_runs(experiments, query, max_results=1000, order_by=["attributes.start_time DESC"],
                                  page_token=token)
        found.update((run.info.run_id, run) for run in page)
        token = page.token
        if not token:
            break
print(len(found))
"""


def measure(command: list[str], uri: str) -> tuple[float, float, str]:
    """(Seconds of the whole process, those of them on the processor, what it printed)."""
    began, before = time.monotonic(), processor_s()
    done = subprocess.run(
        command, env={**os.environ, "MLFLOW_TRACKING_URI": uri}, capture_output=True, text=True, check=True
    )
    return time.monotonic() - began, processor_s() - before, done.stdout


def processor_s() -> float:
    """Processor seconds of all processes waited for so far: what a busy machine does not stretch."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Largest resident size of any process waited for so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pattern", default="cross")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=7)
    figures.add_values_option(parser)
    asked = parser.parse_args()
    uri = build(asked.folder, asked.runs)
    queries = filters.queries(asked.pattern, "", status="FINISHED", where="", since="", archived=False, children=False)
    bare = [sys.executable, "-c", BARE, uri, *queries]
    ours = [sys.executable, "-m", "asr_lab", "compare", "--pattern", asked.pattern]
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "asr-lab": []}
    for _ in range(asked.repeat):
        *taken, said = measure(bare, uri)
        times["bare"].append((taken[0], taken[1]))
        *taken, table = measure(ours, uri)
        times["asr-lab"].append((taken[0], taken[1]))
    rows = sum(asked.pattern in line for line in table.splitlines() if not line.startswith("best"))
    print(f"hits       {said.strip()} bare, {rows} in the table")
    for place, what in enumerate(("whole process", "processor")):
        medians = {name: statistics.median(each[place] for each in values) for name, values in times.items()}
        seconds = ", ".join(f"{name} {value:.2f} s" for name, value in medians.items())
        print(f"{what:13}  {seconds}, ratio {medians['asr-lab'] / medians['bare']:.2f}")
    print(f"memory     {peak_mb():.0f} MB at most")
    ratios = [ours[1] / bare[1] for ours, bare in zip(times["asr-lab"], times["bare"], strict=True)]
    figures.write(
        {
            "compare_processor_ratio": figures.of_rounds(ratios),
            "compare_processor_s": figures.of_rounds([taken[1] for taken in times["asr-lab"]]),
            "compare_memory_mb": peak_mb(),
            "compare_runs": float(asked.runs),
            "compare_hits": float(said),
        },
        asked.values,
    )


if __name__ == "__main__":
    main()
