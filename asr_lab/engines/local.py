"""Processes of this machine, which end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from asr_lab.engines.engine import Resources, State, refuse_options
from asr_lab.errors import AsrLabError
from asr_lab.system.processes import host_and_pid, is_gone, is_in_sight, mark_of
from asr_lab.system.stopping import JOB


class LocalEngine:
    """Starts each command as a process in a session of its own, which Ctrl-C does not reach."""

    name = "local"

    def __init__(self, folder: Path, resources: Resources, env: Mapping[str, str]) -> None:
        if resources.gpus or resources.memory_gb or resources.hours:
            raise AsrLabError(
                "processes of this machine have no limits of GPUs, memory or time",
                allowed="cpus, processes, or --engine slurm",
            )
        refuse_options(self.name, resources, (), without=("gpus", "memory_gb", "hours"))
        threads = {"OMP_NUM_THREADS": str(resources.cpus)} if resources.cpus else {}
        self._folder, self._env = folder, {**env, **threads}
        self._made = 0

    def submit(self, command: Sequence[str]) -> LocalTask:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._made += 1
        log = self._folder / f"{os.getpid()}-{self._made}.log"
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **self._env, JOB: "1"},
                )
        except OSError as error:
            raise AsrLabError(f"the process cannot be started: {error.strerror}", where=str(command[0])) from error
        return LocalTask(process, log)

    def submit_all(self, commands: Sequence[Sequence[str]]) -> list[LocalTask]:
        return [self.submit(command) for command in commands]

    def watch(self, id: str) -> EarlierTask:
        return EarlierTask(id, self._folder)


class LocalTask:
    """A child process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self.log = process, log
        self.pid = process.pid
        self.id = mark_of(process.pid)

    def state(self) -> State:
        code = self._process.poll()
        if code is None:
            return "running"
        return "lost" if code < 0 else "ended"

    def exit_code(self) -> int:
        return int(self._process.wait())

    def why(self) -> str:
        code = self._process.poll() or 0
        return signal.Signals(-code).name if code < 0 else ""

    def cancel(self) -> None:
        self._process.terminate()

    def wait(self, patience_s: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)


class EarlierTask:
    """A process that an earlier one started: how it ended is not known. One of another machine counts as lost."""

    def __init__(self, id: str, log: Path, cancelled_by: signal.Signals = signal.SIGTERM) -> None:
        """`id`: the mark of a process."""
        self.id, self.log, self._cancelled_by = id, log, cancelled_by
        self.pid = host_and_pid(id)[1]

    def state(self) -> State:
        return "running" if is_in_sight(self.id) and not is_gone(self.id) else "lost"

    def exit_code(self) -> int:
        return 0

    def why(self) -> str:
        return ""

    def cancel(self) -> None:
        if self.state() == "running":
            with suppress(psutil.Error):
                psutil.Process(self.pid).send_signal(self._cancelled_by)

    def wait(self, patience_s: float) -> None:
        with suppress(psutil.Error):
            psutil.Process(self.pid).wait(patience_s)
