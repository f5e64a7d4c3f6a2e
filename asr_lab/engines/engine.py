"""The protocol of an engine: submit a command with its resources, watch it, cancel it; and the table of engines."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

from asr_lab.errors import AsrLabError, listing, nearest

State = Literal["waiting", "running", "ended", "lost"]
"""`ended`: with an exit code of its own; `lost`: killed, preempted, out of time or memory, its machine gone."""


@dataclass(frozen=True)
class Resources:
    """Resources of a job; 0: the engine's default."""

    cpus: int = 0
    gpus: int = 0
    processes: int = 0
    """Processes that train together by `torchrun`; 0: one for each GPU, else one."""
    memory_gb: float = 0.0
    hours: float = 0.0
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the engine itself, such as Slurm's `partition`."""


class Task(Protocol):
    """A command that was submitted."""

    id: str
    """By this a later process finds it."""
    log: Path
    """Where its output is."""
    pid: int
    """Its process, if that is one of this machine; else 0."""

    def state(self) -> State: ...

    def exit_code(self) -> int:
        """The exit code of a task that ended."""

    def why(self) -> str:
        """Why it was lost in the engine's words, such as `OUT_OF_MEMORY`; "" where that is not known."""

    def cancel(self) -> None:
        """Ask it to end; it may close its run first."""

    def wait(self, patience_s: float) -> None:
        """Wait for its end, at most `patience_s`."""


class Engine(Protocol):
    """Runs commands, here or elsewhere."""

    name: str

    def submit(self, command: Sequence[str]) -> Task:
        """Start a command in this folder, once there is room for it. Raises `AsrLabError` if it is refused."""

    def submit_all(self, commands: Sequence[Sequence[str]]) -> Sequence[Task]:
        """Start several at once, where the engine has them as one array of jobs. Raises `AsrLabError`."""

    def watch(self, id: str) -> Task:
        """Return a task that an earlier process submitted."""


ENGINES = {
    "local": "asr_lab.engines.local:LocalEngine",
    "slurm": "asr_lab.engines.slurm:SlurmEngine",
    "slurm-local": "asr_lab.engines.slurm:SlurmLocalEngine",
    "ray": "asr_lab.engines.ray_cluster:RayEngine",
}
"""Name -> class; `slurm-local` runs what Slurm would run on this machine, to try it."""
_NEXT = re.compile(r",(?=\w+=)")  # the comma before a key, not that of a list of nodes
_NUMBERS: dict[str, Callable[[str], float]] = {
    "cpus": int, "gpus": int, "processes": int, "memory_gb": float, "hours": float,
}  # fmt: skip


def make_engine(name: str, folder: Path, resources: Resources, env: Mapping[str, str] | None = None) -> Engine:
    """Return an engine that writes its logs to a folder; `env`: variables of its tasks. Raises `AsrLabError`."""
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), attribute)(folder, resources, env or {})
    return engine


def parse_resources(words: Sequence[str]) -> Resources:
    """Parse `cpus=4`, `memory_gb=16,partition=gpu`. Raises `AsrLabError`."""
    pairs: dict[str, str] = {}
    for word in (part for text in words for part in _NEXT.split(text)):
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise AsrLabError(
                f"not a resource: {word!r}", allowed=f"{', '.join(_NUMBERS)}, or an option of Slurm: KEY=VALUE"
            )
        pairs[key] = value
    numbers: dict[str, float] = {}
    for key, parse in _NUMBERS.items():
        if key in pairs:
            numbers[key] = _number(key, pairs.pop(key), parse)
    whole = {key: int(numbers.get(key, 0)) for key in ("cpus", "gpus", "processes")}
    return Resources(**whole, memory_gb=numbers.get("memory_gb", 0.0), hours=numbers.get("hours", 0.0), options=pairs)


def _number(key: str, text: str, parse: Callable[[str], float]) -> float:
    try:
        number = parse(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e6:
        raise AsrLabError(f"{key}={text} is no amount of a resource", allowed="a number above 0")
    return number


def refuse_options(engine: str, resources: Resources, allowed: Sequence[str], *, without: Sequence[str] = ()) -> None:
    """Raise `AsrLabError` for options that an engine does not know; `without`: amounts that it does not limit."""
    known = [*(key for key in _NUMBERS if key not in without), *allowed]
    for key in resources.options:
        if key not in allowed:
            near = nearest(key, known)
            raise AsrLabError(
                f"the engine {engine} has no resource {key!r}" + (f"; did you mean {near}?" if near else ""),
                allowed=listing(known, 40),
            )


def refuse_processes(resources: Resources, job: str) -> None:
    """Raise `AsrLabError` if several processes are asked for a `job` that is always one."""
    if resources.processes > 1:
        raise AsrLabError(
            f"processes={resources.processes}: {job} is one process", allowed="--jobs, for several at a time"
        )


def python_command(*words: str, processes: int = 1) -> list[str]:
    """Return the command that runs `asr-lab WORDS` by this Python, with several `processes` by torchrun."""
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *(together if processes > 1 else []), "-m", "asr_lab", *words]
