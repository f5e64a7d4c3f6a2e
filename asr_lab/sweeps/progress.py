"""Progress of a sweep: a bar on a terminal, one line per trial elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from asr_lab.errors import listing
from asr_lab.reports.numbers import format_metric
from asr_lab.sweeps import trial_states
from asr_lab.sweeps.objective import Objective
from asr_lab.system.processes import host_and_pid
from asr_lab.system.terminal import Console


class TrialProgress:
    """Reports each trial that has ended since the last call."""

    def __init__(self, console: Console, study: Study, objective: Objective, asked: int) -> None:
        self.console, self.objective, self.asked = console, objective, asked
        trials = trial_states.counted(study.get_trials(deepcopy=False))
        self._waits = False
        self._reported = {trial.number for trial in trial_states.over(trials)}
        self._bar = Progress(
            TextColumn("trial"), MofNCompleteColumn(), BarColumn(),
            TextColumn("best {task.fields[best]}", markup=False), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(
            "", total=asked, completed=len(self._reported), best=best_line(study, objective)
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def report(self, study: Study) -> None:
        """Report the trials that ended since the last call."""
        done = trial_states.over(trial_states.counted(study.get_trials(deepcopy=False)))
        new = [trial for trial in done if trial.number not in self._reported]
        if not new:
            return
        best = best_line(study, self.objective)
        self._bar.update(self._task, completed=len(done), best=best)
        for trial in new:
            self._reported.add(trial.number)
            if not self.console.is_terminal:
                number = len(self._reported)
                line = f"trial {number} of {self.asked}: {result_line(trial, self.objective)}; best {best}"
                self.console.print(line)

    def report_waiting(self, study: Study) -> None:
        """Print, once, which trials of other processes are awaited."""
        running = trial_states.counted(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        if self._waits or not running:
            return
        self._waits = True
        processes = [(trial.number, str(trial.user_attrs.get(trial_states.PROCESS, ""))) for trial in running]
        where = [(number, *host_and_pid(process)) for number, process in processes]
        awaited = listing(f"{number} (process {pid} on {host})" for number, host, pid in where)
        self.console.print(f"waiting for trials that others run: {awaited}")


def result_line(trial: FrozenTrial, objective: Objective) -> str:
    """Return `test/wer 10.9%`, `pruned`, or the reason of the failure."""
    if trial.state == TrialState.COMPLETE:
        return values_line(trial, objective)
    if trial.state == TrialState.PRUNED:
        return f"pruned after {len(trial.intermediate_values)} reports"
    return f"failed: {trial.user_attrs.get(trial_states.REASON, trial_states.DIED)}"


def values_line(trial: FrozenTrial, objective: Objective) -> str:
    """Return the objective's names and values."""
    pairs = zip(objective.metrics, trial.values, strict=True)
    return ", ".join(f"{name} {format_metric(name, value)}" for name, value in pairs)


def best_line(study: Study, objective: Objective) -> str:
    """Return the best result so far."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return "none yet"
    if len(objective.metrics) > 1:
        return f"{len(study.best_trials)} on the Pareto front"
    best = study.best_trial
    return f"{values_line(best, objective)} (trial {best.number})"
