"""Run the jobs of speakers in parallel, each in a fresh Python process (`worker.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import asr_lab
from asr_lab.data.synthesis.worker import Job
from asr_lab.errors import AsrLabError

Spoken = list[tuple[str, float, float]]  # phonemes of an utterance: symbol, start in s, duration in s
Progress = Callable[[int, int], None]


def speak_all(jobs: Sequence[Job], progress: Progress | None, workers: int) -> dict[str, Spoken]:
    """Synthesise all jobs with `workers` processes; return the phonemes of each utterance by id.

    Starts processes by command line, not `multiprocessing`, so that scripts need no `if __name__ == "__main__"`.
    Raises `AsrLabError` with the error output of a failed process, after killing the others.
    """
    run = _Run(sum(len(job.utterances) for job in jobs), progress)
    longest_first = sorted(jobs, key=lambda job: -len(job.utterances))
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        try:
            for done in as_completed([pool.submit(run.speak, job) for job in longest_first]):
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            run.end()
            raise
    return run.spoken


class _Run:
    """State shared by the threads: results, and running processes."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.spoken: dict[str, Spoken] = {}
        self._total, self._progress = total, progress
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def speak(self, job: Job) -> None:
        """Run one job in the calling thread."""
        with tempfile.TemporaryFile("w+") as job_input, tempfile.TemporaryFile("w+") as errors:
            job_input.write(job.to_json())
            job_input.seek(0)
            with self._lock:
                if self._ended:
                    return
                process = subprocess.Popen(
                    [sys.executable, "-m", "asr_lab.data.synthesis.worker"],
                    stdin=job_input,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=_environment(),
                )
                self._running.add(process)
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    self._receive(line)
            with self._lock:
                self._running.discard(process)
            if process.returncode and not self._ended:
                errors.seek(0)
                raise AsrLabError(errors.read().strip() or f"speech ended with {process.returncode}")

    def end(self) -> None:
        """Kill running processes; no more are started."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.kill()

    def _receive(self, line: str) -> None:
        row = json.loads(line)
        with self._lock:
            self.spoken[row["id"]] = [(symbol, start, duration) for symbol, start, duration in row["phones"]]
            if self._progress:
                self._progress(len(self.spoken), self._total)


def _environment() -> dict[str, str]:
    """Return the environment with this `asr_lab` first in `PYTHONPATH`."""
    root = str(Path(asr_lab.__file__).parents[1])
    before = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, before] if before else [root])}
