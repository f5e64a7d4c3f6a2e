"""Jobs on a Ray cluster that runs already: an actor for each command line, which outlives who submitted it.

Ray asks for no credentials unless RAY_AUTH_MODE=token, and listens on all interfaces: who reaches its ports runs code.
No cluster is started here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_lab.engines.engine import Resources, State, refuse_options
from asr_lab.errors import AsrLabError
from asr_lab.system.stopping import JOB

_NAMESPACE = "asr_lab"
_PASSED = ("ASR_LAB_", "AWS_", "HF_", "MLFLOW_", "OMP_", "PYTHON")
"""Beginnings of variables that a command gets from who submits it; all others are those of its node."""
_ANSWER_S = 20.0  # of an actor that is there
_FIRST_ANSWER_S = 0.5  # of one that may have no place in the cluster yet
_LOOK_EVERY_S = 0.2
_GB = 1024**3


class RayEngine:
    """Submits to the cluster of `RAY_ADDRESS`, else to the one of this machine."""

    name = "ray"

    def __init__(self, folder: Path, resources: Resources, env: Mapping[str, str]) -> None:
        if resources.hours:
            raise AsrLabError("jobs of Ray have no limit of time", allowed="cpus, gpus, memory_gb, processes")
        refuse_options(self.name, resources, (), without=("hours",))
        self._folder, self._resources, self._env = folder.absolute(), resources, env
        _connect()

    def submit(self, command: Sequence[str]) -> RayTask:
        import ray

        self._folder.mkdir(parents=True, exist_ok=True)
        id = uuid.uuid4().hex[:12]
        log = self._folder / f"{id}.log"
        passed = {key: value for key, value in os.environ.items() if key.startswith(_PASSED)}
        asked = self._resources
        options: dict[str, Any] = {"num_cpus": asked.cpus or 1, "num_gpus": asked.gpus}
        options |= {"memory": round(asked.memory_gb * _GB)} if asked.memory_gb else {}
        of_cluster = ray.remote(Command).options(
            name=id, namespace=_NAMESPACE, lifetime="detached", max_concurrency=2, **options
        )
        actor = of_cluster.remote(list(command), str(Path.cwd()), str(log), {**passed, **self._env, JOB: "1"})
        return RayTask(id, log, actor)

    def submit_all(self, commands: Sequence[Sequence[str]]) -> list[RayTask]:
        return [self.submit(command) for command in commands]

    def watch(self, id: str) -> RayTask:
        import ray

        actor = None
        with suppress(ValueError):  # there is none of this name any more
            actor = ray.get_actor(id, namespace=_NAMESPACE)
        return RayTask(id, self._folder / f"{id}.log", actor)


class Command:
    """A command line, on the node that Ray chose: a process of this one, which is Ray's."""

    def __init__(self, words: list[str], folder: str, log: str, env: dict[str, str]) -> None:
        with Path(log).open("wb") as output:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
            )

    def code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Ask it to end."""
        self._process.terminate()  # Ray ignores SIGINT, which a command inherits


class RayTask:
    """A command of a Ray actor."""

    pid = 0

    def __init__(self, id: str, log: Path, actor: Any) -> None:
        self.id, self.log, self._actor = id, log, actor
        self._asked: Any = None
        self._code: int | None = None if actor else -1
        self._began = False

    def state(self) -> State:
        if self._code is None:
            self._look()
        if self._code is None:
            return "running" if self._began else "waiting"
        return "lost" if self._code < 0 else "ended"

    def _look(self) -> None:
        """Ask the actor; until it has a place in the cluster there is no answer. It goes once its command has ended."""
        import ray
        from ray.exceptions import RayError

        patience_s = _ANSWER_S if self._began else 0.0 if self._asked else _FIRST_ANSWER_S
        self._asked = self._asked or self._actor.code.remote()
        done, _ = ray.wait([self._asked], timeout=patience_s)
        if not done:
            return
        try:
            self._code, self._began = ray.get(self._asked), True
        except RayError:  # its process was killed, or its node is gone
            self._code = -1
        self._asked = None
        if self._code is not None:
            ray.kill(self._actor)

    def exit_code(self) -> int:
        return self._code or 0

    def why(self) -> str:
        return signal.Signals(-self._code).name if self._code is not None and self._code < -1 else ""

    def cancel(self) -> None:
        import ray

        if self.state() == "waiting":
            ray.kill(self._actor)
            self._code = -1
        elif self._code is None:
            self._actor.end.remote()

    def wait(self, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while self.state() in ("waiting", "running") and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)


def _connect() -> None:
    """Raise `AsrLabError` if Ray is not installed, or no cluster of it runs."""
    try:
        import ray
    except ImportError as error:
        raise AsrLabError("Ray is not installed", next_command='pip install "asr_lab[ray]"') from error
    if ray.is_initialized():
        return
    try:
        ray.init(address="auto", namespace=_NAMESPACE, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise AsrLabError(
            f"no Ray cluster is reached: {lines[0]}",
            allowed="a cluster of this machine (ray start --head), or one named by RAY_ADDRESS",
            hint="Ray asks for no credentials: only in a closed network (asr-lab guide scale)",
        ) from error
