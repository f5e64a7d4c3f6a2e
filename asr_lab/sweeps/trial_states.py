"""What the trials of a study are: which count, which were lost with their process and are tried again.

A trial that is lost FAILs and a copy of it waits in its place (Optuna's retry history). One that was asked for when
there were enough already is surplus. Neither counts.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from datetime import datetime

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from asr_lab.interfaces.tracking import RunKeeper
from asr_lab.system.processes import host_and_pid, is_elsewhere, is_gone

PROCESS, RUN, SEEDS, SURPLUS, REASON, FIGURES = "process", "run", "seeds", "surplus", "reason", "figures"
"""What is noted on a trial: who runs it, its MLflow run and those of its seeds beneath, that it is one too many, why it
failed, its main figures."""
_MOST_RETRIES = 2  # of a trial whose process dies: it may be the trial that kills it
_UNMARKED_S = 60.0
DIED = "its process died (killed, or out of memory)"
_OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

_again = RetryHeartbeatStaleTrialCallback(max_retry=_MOST_RETRIES)
_again_for_ever = RetryHeartbeatStaleTrialCallback()


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count, in their order."""
    retried = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    return [trial for trial in trials if trial.number not in retried and SURPLUS not in trial.user_attrs]


def over(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those of `counted` trials that have ended."""
    return [trial for trial in trials if trial.state in _OVER]


def work_left(trials: Sequence[FrozenTrial], asked: int) -> bool:
    """Whether another trial may be begun: one waits to be tried again, or there are fewer than were asked for."""
    own = counted(trials)
    return any(trial.state == TrialState.WAITING for trial in own) or len(own) < asked


def is_surplus(trials: Sequence[FrozenTrial], number: int, asked: int) -> bool:
    """Whether a trial that has begun is one too many: others were faster."""
    return sum(trial.number < number for trial in counted(trials)) >= asked


def was_run_by(pids: Container[int], trial: FrozenTrial) -> bool:
    """Whether one of these processes of this machine ran a trial."""
    mark = str(trial.user_attrs.get(PROCESS, ""))
    return not is_elsewhere(mark) and host_and_pid(mark)[1] in pids


def lose(tracker: RunKeeper, study: Study, trial: FrozenTrial) -> None:
    """What is done with a trial that was found dead: its run is closed, and it is tried again, but not for ever."""
    notes = trial.user_attrs
    for run_id in [*notes.get(SEEDS, ()), *([notes[RUN]] if RUN in notes else ())]:
        tracker.close(run_id, "FAILED", DIED)
    try_again(study, trial)


def try_again(study: Study, trial: FrozenTrial, *, however_often: bool = False) -> None:
    """Have a copy of a trial that has FAILed wait in its place."""
    plain = copy.deepcopy(trial)
    plain.user_attrs = {}  # who ran it, and its run, are not those of the copy
    (_again_for_ever if however_often else _again)(study, plain)


def reclaim(study: Study, tracker: RunKeeper, gone: str = "") -> int:
    """Find the trials whose process on this machine is gone, or that ran on the machine `gone`, and in a database those
    whose heart has stopped; how many there were but for these."""
    fail_stale_trials(study)  # calls `lose`; nothing where hearts are not heard
    found = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        mark = trial.user_attrs.get(PROCESS)
        began = trial.datetime_start or datetime.now()
        unmarked = not mark and (datetime.now() - began).total_seconds() > _UNMARKED_S
        lost = mark and (is_gone(mark) or (gone and host_and_pid(mark)[0] == gone))
        if not (unmarked or lost):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):
            continue  # somebody else was faster
        lose(tracker, study, trial)
        found += 1
    return found
