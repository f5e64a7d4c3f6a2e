"""Run a sweep: create the study once, run its trials in workers, and record the result."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState

from asr_lab.config import identity
from asr_lab.config.schema import SweepExperiment
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tags import SPEAKER, SWEEP
from asr_lab.interfaces.tracking import SWEEP_KIND, ModelStore, Recorder, RunKeeper, RunSpec
from asr_lab.sweeps import samplers, trial_states
from asr_lab.sweeps.leader_election import leading
from asr_lab.sweeps.objective import Objective
from asr_lab.sweeps.progress import TrialProgress
from asr_lab.sweeps.results import SweepResult, record
from asr_lab.sweeps.space import Space
from asr_lab.sweeps.storage import FOLDER, StorageLocation
from asr_lab.sweeps.study import ASKED, COORDINATOR, PARENT, UNTIL, StudyPlan
from asr_lab.sweeps.trial_states import LostTrials
from asr_lab.sweeps.worker import GAVE_UP, Backends, Job, Worker, work
from asr_lab.system.processes import is_gone, process_mark
from asr_lab.system.resources import Clock
from asr_lab.system.stopping import held
from asr_lab.system.terminal import Console
from asr_lab.system.threads import choose, use_threads

_LOOK_EVERY_S = 0.5
_CHECKPOINTS, _JOINED = Path("checkpoints"), "joined-"
_MOST_DEATHS = 3  # of workers beyond one a trial: they die before they begin one


def plan(config: SweepExperiment, name: str, storage: str, tracking_uri: str) -> StudyPlan:
    """Read and check everything without writing. Raise `AsrLabError` for any mistake that can be detected."""
    name = config.name or name
    space = Space(config)
    space.check_values()
    objective = Objective.of(config, space.recipe, space.usual)
    samplers.sampler(config, space), samplers.pruner(config)  # invalid options raise now
    location = StorageLocation(storage or str(FOLDER / f"{name}.journal"), config.heartbeat_s)
    location.check(tracking_uri)
    return StudyPlan(name, space, objective, location)


def sweep(
    planned: StudyPlan, backends: Backends, console: Console, *, asked: int, timeout_s: float, workers: int = 1
) -> SweepResult:
    """Run trials until there are `asked`, including earlier calls; return the result, recorded as one run."""
    tracker, store = backends.make_tracker(), backends.make_store()
    with leading(planned) as leadership:
        study = planned.open(tracker, first=True)
        planned.claim(study, store)
        study.set_user_attr(COORDINATOR, process_mark())
        lost = LostTrials(study, tracker, planned.location.has_died)
        lost.retry()
        if asked > (most := samplers.max_trials(planned.space.sweep, planned.space)):
            console.print(f"there are {most} trials at most: {planned.space.sweep.sampler.name} tries all values once")
        study.set_user_attr(ASKED, min(asked, most))

        def look() -> None:
            leadership.check()
            lost.retry()

        return _led(planned, backends, study, tracker, store, console, timeout_s, workers, look)


def _led(
    planned: StudyPlan,
    backends: Backends,
    study: Study,
    tracker: RunKeeper,
    store: ModelStore,
    console: Console,
    timeout_s: float,
    workers: int,
    look: Callable[[], None],
) -> SweepResult:
    spec, parent, asked = _spec(planned), study.user_attrs.get(PARENT, ""), study.user_attrs[ASKED]
    with tracker.reopen(spec, parent) if parent else tracker.start(spec) as run:
        study.set_user_attr(PARENT, run.run_id)
        clock = Clock()
        job = Job(
            planned, run.run_id, asked, _until(timeout_s), _threads(workers), run.checkpoints / "frames", backends
        )
        study.set_user_attr(UNTIL, planned.location.now() + timeout_s if timeout_s else None)
        console.say("{} [bold]{}[/] in {}", "continuing" if parent else "sweep", run.name, planned.location.shown)
        _prepare(job, store, run, console)
        with TrialProgress(console, study, planned.objective, asked) as progress:
            try:
                _work(job, study, tracker, store, workers, progress, look)
            except AsrLabError:
                record(SweepResult.of(planned, study, run), study, run)
                raise
        result = SweepResult.of(planned, study, run)
        record(result, study, run)
        run.metrics({"perf/seconds": clock.seconds})
    return result


def join(planned: StudyPlan, backends: Backends, console: Console, *, timeout_s: float, workers: int = 1) -> int:
    """Join a sweep that another process leads; return the number of trials run here."""
    tracker, store = backends.make_tracker(), backends.make_store()
    joined = zlib.crc32(process_mark().encode())
    study = planned.open(tracker, draws=(joined,))
    parent, asked = study.user_attrs.get(PARENT, ""), int(study.user_attrs.get(ASKED, 0))
    if not parent:
        raise AsrLabError(
            f"the study {planned.name!r} has no run yet", where=planned.location.shown, hint="it is just being begun"
        )
    planned.claim(study, store)
    folder = _joined_folder()
    until = _until(timeout_s)
    if leaders := study.user_attrs.get(UNTIL):
        until = min(until, time.monotonic() + float(leaders) - planned.location.now())
    lost = LostTrials(study, tracker, planned.location.has_died)
    job = Job(planned, parent, asked, until, _threads(workers), folder, backends, joined=joined)
    before = {trial.number for trial in trial_states.over(study.get_trials(deepcopy=False))}
    try:
        with TrialProgress(console, study, planned.objective, asked) as progress:
            pids = _work(job, study, tracker, store, workers, progress, lost.retry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ended = trial_states.over(trial_states.counted(study.get_trials(deepcopy=False)))
    return sum(trial_states.was_run_by(pids, trial) for trial in ended if trial.number not in before)


def _spec(planned: StudyPlan) -> RunSpec:
    config = planned.space.sweep
    speaker = "" if "adapter.name" in config.space else str(planned.space.usual.get("adapter.name") or "")
    return RunSpec(
        family=planned.space.recipe,
        kind=SWEEP_KIND,
        model_type="sweep",
        name=planned.name,
        signature=identity.signature(config, {"study": planned.name}),
        params=identity.flat(config),
        config_yaml=identity.dump_yaml(config),
        tags={SWEEP: planned.name} | ({SPEAKER: speaker} if speaker else {}),
        registers=False,
    )


def _until(timeout_s: float) -> float:
    return time.monotonic() + timeout_s if timeout_s else float("inf")


def _joined_folder() -> Path:
    """Return the folder shared by the trials of this process, after deleting those of dead processes."""
    for folder in _CHECKPOINTS.glob(f"{_JOINED}*"):
        if is_gone(folder.name.removeprefix(_JOINED)):
            shutil.rmtree(folder, ignore_errors=True)
    return _CHECKPOINTS / f"{_JOINED}{process_mark()}"


def _threads(workers: int) -> int:
    return max(1, choose().number // workers)


def _prepare(job: Job, store: ModelStore, run: Recorder, console: Console) -> None:
    """Compute once what the trials share."""
    training = job.backends.training_of(job.plan.space.recipe, store, job.shared)
    if spent := training.prepare(job.plan.space.one, console):
        run.metrics(spent)


def _work(
    job: Job,
    study: Study,
    tracker: RunKeeper,
    store: ModelStore,
    workers: int,
    progress: TrialProgress,
    look: Callable[[], None],
) -> set[int]:
    """Run trials here or in processes until there are enough; return process ids.

    `look` is called between trials: it retries those of dead processes.
    """
    if workers > 1:
        return _in_processes(job, study, workers, progress, look)
    use_threads(job.threads)
    worker = Worker(job, study, tracker, store)
    with job.plan.location.running():
        while True:
            while worker.has_work():
                worker.run_one()
                progress.report(study)
            if not _wait(job, study, progress, look):
                return {os.getpid()}


def _wait(job: Job, study: Study, progress: TrialProgress, look: Callable[[], None]) -> bool:
    """Wait for trials that others run; return whether there is work again because one of them was lost."""
    while True:
        look()
        trials = study.get_trials(deepcopy=False)
        if time.monotonic() < job.until and trial_states.work_left(trials, job.asked):
            return True
        if not any(trial.state == TrialState.RUNNING for trial in trial_states.counted(trials)):
            return False
        progress.report_waiting(study)
        time.sleep(_LOOK_EVERY_S)


def _gave_up(job: Job, errors: SimpleQueue[AsrLabError]) -> AsrLabError:
    if errors.empty():  # it crashed, or was killed repeatedly
        return AsrLabError(
            "the workers of the sweep end before their trials do",
            where=job.plan.name,
            next_command="asr-lab list --children --state failed",
        )
    error = errors.get()
    error.what = f"a worker gave up: {error.what}"
    return error


def _in_processes(job: Job, study: Study, workers: int, progress: TrialProgress, look: Callable[[], None]) -> set[int]:
    context = multiprocessing.get_context("spawn")
    errors: SimpleQueue[AsrLabError] = context.SimpleQueue()
    made = 0
    pids: set[int] = set()
    alive: list[SpawnProcess] = []
    try:
        while True:
            trials = study.get_trials(deepcopy=False)
            wanted = time.monotonic() < job.until and trial_states.work_left(trials, job.asked)
            while wanted and len(alive) < workers:
                made += 1
                process = context.Process(target=work, args=(job, made, errors), name=f"worker {made}")
                with _without_ctrl_c():
                    process.start()
                pids.add(process.pid or 0)
                alive.append(process)
            time.sleep(_LOOK_EVERY_S)
            dead = [one for one in alive if not one.is_alive()]
            alive = [one for one in alive if one.is_alive()]
            look()
            progress.report(study)
            if any(one.exitcode in (1, GAVE_UP) for one in dead) or made - workers > _MOST_DEATHS + job.asked:
                raise _gave_up(job, errors)
            more = wanted and trial_states.work_left(study.get_trials(deepcopy=False), job.asked)
            if not alive and not more and not _wait(job, study, progress, look):
                return pids
    finally:
        with held():
            for process in alive:
                process.terminate()
            for process in alive:
                process.join()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, from their first moment: the leader closes their trials."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
