"""Jobs of Slurm by submitit, and the same jobs as processes of this machine where there is no Slurm."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from asr_lab.engines.engine import Resources, State, refuse_options
from asr_lab.engines.local import EarlierTask
from asr_lab.errors import AsrLabError
from asr_lab.system.processes import mark_of
from asr_lab.system.stopping import JOB

_HOURS = 24.0
_OPTIONS = (
    "partition", "account", "qos", "constraint", "exclude", "nodelist", "gres", "comment", "mem_per_gpu", "mem_per_cpu",
    "mail_type", "mail_user", "dependency", "exclusive", "wckey",
)  # fmt: skip
_LOOK_EVERY_S = 1.0


class _Submitit(ABC):
    """Submits `subprocess.call` of a command line: no object of ours is pickled."""

    name: str

    def __init__(self, folder: Path, resources: Resources, env: Mapping[str, str]) -> None:
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise AsrLabError("submitit is not installed", next_command='pip install "asr_lab[slurm]"') from error
        refuse_options(self.name, resources, _OPTIONS)
        self._folder, self._resources, self._env = folder.absolute(), resources, env

    @abstractmethod
    def _executor(self) -> Any:
        """Return submitit's executor with the limits of a job."""

    def _submitted(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Return submitit's jobs: several are one array."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # its pickles are read back
        with _refusals(), _environment({**self._env, JOB: "1"}):
            executor, here = self._executor(), str(Path.cwd())
            with executor.batch() if len(commands) > 1 else nullcontext():
                return [executor.submit(subprocess.call, list(command), cwd=here) for command in commands]

    def _limits(self) -> dict[str, Any]:
        asked = self._resources
        limits = {"cpus_per_task": asked.cpus, "gpus_per_node": asked.gpus, "mem_gb": asked.memory_gb}
        return {key: value for key, value in limits.items() if value} | {
            "timeout_min": math.ceil((asked.hours or _HOURS) * 60)  # 0 would be no limit
        }


class SlurmEngine(_Submitit):
    """Submits by `sbatch`. Raises `AsrLabError` where there is none."""

    name = "slurm"

    def __init__(self, folder: Path, resources: Resources, env: Mapping[str, str]) -> None:
        super().__init__(folder, resources, env)
        missing = [program for program in ("sbatch", "srun") if not shutil.which(program)]
        if missing:
            raise AsrLabError(
                f"there is no Slurm on this machine: no {' and no '.join(missing)}",
                hint="--engine slurm-local runs the same jobs here",
            )

    def _executor(self) -> Any:
        import submitit

        executor = submitit.AutoExecutor(self._folder, cluster="slurm")
        options = {f"slurm_{key}": value for key, value in self._resources.options.items()}
        executor.update_parameters(name="asr-lab", stderr_to_stdout=True, **self._limits(), **options)
        return executor

    def submit(self, command: Sequence[str]) -> SlurmTask:
        (task,) = self.submit_all([command])
        return task

    def submit_all(self, commands: Sequence[Sequence[str]]) -> list[SlurmTask]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _errors_to(self._folder / "sbatch.log"):  # they are raised too
            return [SlurmTask(job) for job in self._submitted(commands)]

    def watch(self, id: str) -> SlurmTask:
        import submitit

        return SlurmTask(submitit.SlurmJob(self._folder, id))


class SlurmLocalEngine(_Submitit):
    """Runs what Slurm would run as processes of this machine, which outlive the one that started them."""

    name = "slurm-local"

    def _executor(self) -> Any:
        import submitit

        executor = submitit.AutoExecutor(self._folder, cluster="local")
        executor.update_parameters(stderr_to_stdout=True, **self._limits())
        return executor

    def submit(self, command: Sequence[str]) -> SlurmLocalTask:
        (task,) = self.submit_all([command])
        return task

    def submit_all(self, commands: Sequence[Sequence[str]]) -> list[SlurmLocalTask]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _errors_to(self._folder / "controllers.log"), _interruptible():
            return [SlurmLocalTask(job) for job in self._submitted(commands)]

    def watch(self, id: str) -> EarlierTask:
        return EarlierTask(id, self._folder, signal.SIGINT)


class SlurmTask:
    """A job of Slurm."""

    pid = 0

    def __init__(self, job: Any) -> None:
        self._job = job
        self.id = str(job.job_id)
        self.log = Path(job.paths.stdout)
        self._code: int | None = None

    def state(self) -> State:
        if not self._job.done():
            return "waiting" if self._job.state in ("PENDING", "REQUEUED", "UNKNOWN") else "running"
        return "lost" if self._exit_code() < 0 else "ended"

    def exit_code(self) -> int:
        return self._exit_code()

    def _exit_code(self) -> int:
        """The code of the command; -1 where it has none: Slurm ended it."""
        if self._code is None:
            self._code = int(self._job.result()) if self._has_result() else -1
        return self._code

    def _has_result(self) -> bool:
        return self._job.exception() is None

    def why(self) -> str:
        if self._code is not None and self._code < -1:
            return signal.Signals(-self._code).name
        return str(self._job.state).partition(" ")[0]  # without `by 1000`

    def cancel(self) -> None:
        self._job.cancel(check=False)

    def wait(self, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while self.state() in ("waiting", "running") and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)


class SlurmLocalTask(SlurmTask):
    """A job of submitit's local executor."""

    def __init__(self, job: Any) -> None:
        super().__init__(job)
        self.id = mark_of(int(job.job_id))

    def why(self) -> str:
        return signal.Signals(-self._code).name if self._code is not None and self._code < -1 else ""

    def _has_result(self) -> bool:
        return bool(self._job.paths.result_pickle.exists()) and self._job.exception() is None


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    """Set variables, which jobs inherit: unlike the words of a command, other users do not see them."""
    before = {key: os.environ.get(key) for key in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make started processes receive SIGINT, which cancels them: a shell's background jobs ignore it."""
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    is_ignored &= threading.current_thread() is threading.main_thread()
    if is_ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if is_ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _errors_to(log: Path) -> Iterator[None]:
    """Redirect errors of started processes to a log: a cancelled controller writes a traceback."""
    own = os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise what Slurm refuses as `AsrLabError`."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (FailedJobError, FailedSubmissionError, RuntimeError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        why = [line for line in lines if "error" in line][-1:] or lines  # of other failures the first line is the fault
        raise AsrLabError(f"Slurm refuses the job: {why[0]}") from error
