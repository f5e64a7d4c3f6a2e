"""States of the trials of a study: which count, and which are retried because their process died.

A lost trial FAILs and a copy of it is enqueued (Optuna's retry history). A trial begun when there were enough already
is surplus. Neither counts.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Container, Sequence

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from asr_lab.interfaces.tracking import RunKeeper
from asr_lab.system.processes import host_and_pid, is_elsewhere

PROCESS, RUN, SEEDS, SURPLUS, REASON, FIGURES = "process", "run", "seeds", "surplus", "reason", "figures"
"""User attributes of a trial: its process, its MLflow run, the runs of its seeds, whether it is surplus, why it failed,
its main metrics."""
_MOST_RETRIES = 2  # of a trial whose process dies: it may be the trial that kills it
_UNMARKED_S = 60.0
DIED = "its process died (killed, or out of memory)"
_OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

_retry = RetryHeartbeatStaleTrialCallback(max_retry=_MOST_RETRIES)
_retry_always = RetryHeartbeatStaleTrialCallback()


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that count, in order."""
    retried = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    return [trial for trial in trials if trial.number not in retried and SURPLUS not in trial.user_attrs]


def over(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return those of `counted` trials that have ended."""
    return [trial for trial in trials if trial.state in _OVER]


def is_surplus(trials: Sequence[FrozenTrial], number: int, asked: int) -> bool:
    """Return whether a trial that has begun is one too many, because others were faster."""
    return sum(trial.number < number for trial in counted(trials)) >= asked


def was_run_by(pids: Container[int], trial: FrozenTrial) -> bool:
    """Return whether one of these processes of this machine ran a trial."""
    mark = str(trial.user_attrs.get(PROCESS, ""))
    return not is_elsewhere(mark) and host_and_pid(mark)[1] in pids


def lose(tracker: RunKeeper, study: Study, trial: FrozenTrial) -> None:
    """Close the run of a trial whose process died, and retry it a limited number of times."""
    notes = trial.user_attrs
    for run_id in [*notes.get(SEEDS, ()), *([notes[RUN]] if RUN in notes else ())]:
        tracker.close(run_id, "FAILED", DIED)
    try_again(study, trial)


def try_again(study: Study, trial: FrozenTrial, *, however_often: bool = False) -> None:
    """Enqueue a copy of a failed trial."""
    plain = copy.deepcopy(trial)
    plain.user_attrs = {}  # who ran it, and its run, are not those of the copy
    (_retry_always if however_often else _retry)(study, plain)


class LostTrials:
    """The trials of a study whose process has ended."""

    def __init__(self, study: Study, tracker: RunKeeper, has_died: Callable[[str], bool]) -> None:
        """`has_died` returns whether the process of a mark is gone."""
        self._study, self._tracker, self._has_died = study, tracker, has_died
        self._unmarked: dict[int, float] = {}

    def retry(self) -> None:
        """Fail them and enqueue copies; in a database also those whose heartbeat has stopped."""
        fail_stale_trials(self._study)  # calls `lose`; does nothing without heartbeats
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in running:
            mark = trial.user_attrs.get(PROCESS)
            if not (self._has_died(mark) if mark else self._has_waited(trial.number)):
                continue
            try:
                self._study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):
                continue  # somebody else was faster
            lose(self._tracker, self._study, trial)

    def _has_waited(self, number: int) -> bool:
        """Whether a trial has had no process for so long, since it was first seen, that it will never have one."""
        return time.monotonic() - self._unmarked.setdefault(number, time.monotonic()) > _UNMARKED_S
