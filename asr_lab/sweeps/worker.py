"""A process that runs trials of a study, one after the other, until there are enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from asr_lab.errors import AsrLabError, reason
from asr_lab.families import shown
from asr_lab.interfaces.tracking import ModelStore, PrunedError, RunKeeper
from asr_lab.sweeps.study import StudyPlan
from asr_lab.sweeps.trial import TrialTracker
from asr_lab.sweeps.trial_states import FIGURES, PROCESS, REASON, SURPLUS, counted, is_surplus, try_again
from asr_lab.sweeps.trial_training import Training, training_of
from asr_lab.system.processes import process_mark

TAKEN_OVER = "this process was silent for so long that others try the trial again"
_GIVE_UP = 3  # trials in a row that fail: it is not their values


@dataclass(frozen=True)
class Backends:
    """Factories for tracking, models and training."""

    make_tracker: Callable[[], RunKeeper]
    make_store: Callable[[], ModelStore]
    training_of: Callable[[str, ModelStore, Path], Training] = training_of


@dataclass(frozen=True)
class Job:
    """The settings of a worker."""

    plan: StudyPlan
    parent: str
    """The sweep's MLflow run."""
    asked: int
    """Number of trials to reach."""
    until: float
    """No trial begins after this time (of `time.monotonic`); infinite: no limit."""
    threads: int
    shared: Path
    """Folder of files that trials share."""
    backends: Backends

    def may_begin(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether another trial of the study may begin now: one waits for a retry, or fewer than `asked` count.

        Take the trials at one moment: one that ends is replaced by its retry.
        """
        own = counted(trials)
        has_work = len(own) < self.asked or any(trial.state == TrialState.WAITING for trial in own)
        return has_work and time.monotonic() < self.until


class _SurplusError(Exception):
    """There are enough trials: others were faster."""


class _InterruptedError(Exception):
    """Ctrl-C or SIGTERM."""


class Worker:
    """Runs trials in this process."""

    def __init__(self, job: Job, study: Study, tracker: RunKeeper, store: ModelStore) -> None:
        self.job, self.study, self.tracker = job, study, tracker
        self.recipe = job.plan.space.recipe
        self.training = job.backends.training_of(self.recipe, store, job.shared)
        self._failed: list[str] = []
        self._own: TrialTracker | None = None

    def run_one(self) -> None:
        """Run one trial. Raise `AsrLabError` if several in a row failed, and re-raise an interruption."""
        interruptions: list[BaseException] = []

        def objective(trial: Trial) -> list[float]:
            try:
                return self._objective(trial)
            except (KeyboardInterrupt, SystemExit) as error:
                interruptions.append(error)
                raise _InterruptedError from error

        def retry_interrupted(study: Study, trial: FrozenTrial) -> None:
            if interruptions:
                try_again(study, trial, however_often=True)

        try:
            self.study.optimize(objective, n_trials=1, catch=(Exception,), callbacks=[retry_interrupted])
        except (ValueError, UpdateFinishedTrialError):
            if not self._was_lost():
                raise
        if interruptions:
            raise interruptions[0]
        if len(self._failed) >= _GIVE_UP:
            raise AsrLabError(
                f"{_GIVE_UP} trials in a row failed, the last one because: {self._failed[-1]}",
                where=self.job.plan.name,
                next_command="asr-lab list --children --state failed",
            )

    def _was_lost(self) -> bool:
        """Return whether others took this process for dead and retry its trial; its run is then marked as failed."""
        own = self._own
        if own is None or not self.study.get_trials(deepcopy=False)[own.trial.number].state.is_finished():
            return False
        if own.run:
            with suppress(AsrLabError), self.tracker.reopen(own.spec, own.run.run_id):
                raise AsrLabError(TAKEN_OVER)
        return True

    def _objective(self, trial: Trial) -> list[float]:
        self._own = None
        trial.set_user_attr(PROCESS, process_mark())
        if is_surplus(self.study.get_trials(deepcopy=False), trial.number, self.job.asked):
            trial.set_user_attr(SURPLUS, True)
            raise _SurplusError
        plan = self.job.plan
        sweep = plan.space.sweep
        self._own = tracker = TrialTracker(
            self.tracker,
            trial,
            parent=self.job.parent,
            name=plan.name,
            objective=plan.objective,
            models=sweep.models,
            seeds=sweep.seeds,
        )
        try:
            values = self._trained(trial, tracker)
        except PrunedError as pruned:
            tracker.conclude(pruned)
            self._failed.clear()
            raise TrialPruned(str(pruned)) from pruned
        except BaseException as error:
            tracker.conclude(error)
            why = reason(error).splitlines()[0]
            trial.set_user_attr(REASON, why[:500])
            self._failed.append(why)
            raise
        self._failed.clear()
        return values

    def _trained(self, trial: Trial, tracker: TrialTracker) -> list[float]:
        space = self.job.plan.space
        chosen = space.draw(trial)
        threads = {"run.threads": self.job.threads} if not space.usual.get("run.threads") else {}
        first = int(space.usual.get("run.seed") or 0)
        for offset in range(space.sweep.seeds):
            seed = {"run.seed": first + offset} if space.sweep.seeds > 1 else {}
            try:
                config = space.config({**chosen, **threads, **seed})
                tracker.next_seed()
                self.training(config, tracker)
            except Exception as error:
                if tracker.run is None:  # it failed before its run was begun
                    tracker.refuse(self.recipe, chosen, error)
                raise
        values, means = tracker.values(), tracker.means()
        trial.set_user_attr(FIGURES, {name: means[name] for name in shown(self.recipe) if name in means})
        tracker.conclude(None)
        return values
