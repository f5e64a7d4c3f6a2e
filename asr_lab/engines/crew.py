"""Several jobs of one engine: a given number at a time, and lost ones are submitted again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from asr_lab.engines.engine import Engine, Task
from asr_lab.errors import AsrLabError

_CANCEL_S = 60.0
_LINES = 5


class Crew:
    """Jobs of one engine that do the same work."""

    def __init__(self, engine: Engine, command: Callable[[int], Sequence[str]], *, most: int) -> None:
        """`command`: number of a job -> what it runs; at most `most` are submitted, in case they all end at once."""
        self.engine, self._command, self._most = engine, command, most
        self._made = 0
        self._last: Task | None = None
        self._cancelled: set[str] = set()
        self.tasks: list[Task] = []
        self.pids: set[int] = set()
        """Processes of this machine that were started."""

    def adopt(self, ids: Iterable[str]) -> None:
        """Watch the jobs of an earlier process that still wait or run."""
        tasks = [self.engine.watch(id) for id in ids]
        self.tasks += [task for task in tasks if task.state() in ("waiting", "running")]

    def fill(self, count: int) -> None:
        """Submit jobs until there are `count`. Raises `AsrLabError`."""
        while len(self.tasks) < count:
            if self._made >= self._most:
                raise AsrLabError(f"{self._made} jobs were submitted, and ended before their work", **self._where())
            self._made += 1
            task = self.engine.submit(self._command(self._made))
            self.tasks.append(task)
            self.pids |= {task.pid} if task.pid else set()

    @property
    def ids(self) -> list[str]:
        """Ids by which a later process adopts the jobs."""
        return [task.id for task in self.tasks]

    def look(self) -> None:
        """Forget the jobs that ended. Raise `AsrLabError` if one gave up, with its reason."""
        ended = [task for task in self.tasks if task.state() in ("ended", "lost")]
        self.tasks = [task for task in self.tasks if task not in ended]
        for task in ended:
            self._last = task
            if task.state() == "ended" and task.exit_code() in (1, 2):
                raise AsrLabError(f"a job gave up: {reason(task)}", where=str(task.log))

    def _where(self) -> dict[str, str]:
        return {"where": str(self._last.log), "hint": reason(self._last)} if self._last else {}

    def cancel(self, *, waiting: bool = False) -> None:
        """Cancel all jobs, or only those that are `waiting`, and wait for their end."""
        chosen = [task for task in self.tasks if not waiting or task.state() == "waiting"]
        for task in chosen:
            if not waiting or task.id not in self._cancelled:
                task.cancel()
            self._cancelled.add(task.id)
        if not waiting:
            for task in chosen:
                task.wait(_CANCEL_S)


def reason(task: Task) -> str:
    """Return the error in the log of a task, or the last lines of it."""
    try:
        lines = task.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    lines = [line for line in lines if line.strip() and not line.startswith("submitit ")]
    errors = [index for index, line in enumerate(lines) if line.startswith("Error: ")]
    chosen = lines[errors[-1] :] if errors else lines[-_LINES:]
    return "\n    ".join(chosen[: _LINES + 1]).removeprefix("Error: ") or "its log is empty"
