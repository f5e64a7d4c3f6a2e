"""Run a sweep: create the study once, run its trials here or by jobs of an engine, and record the result."""

from __future__ import annotations

import os
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState

from asr_lab.config import identity
from asr_lab.config.schema import SweepExperiment
from asr_lab.engines.crew import Crew
from asr_lab.engines.engine import Engine
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
from asr_lab.sweeps.study import ASKED, COORDINATOR, JOBS, PARENT, SHARED, UNTIL, StudyPlan
from asr_lab.sweeps.trial_states import LostTrials
from asr_lab.sweeps.worker import Backends, Job, Worker
from asr_lab.system.processes import is_gone, process_mark
from asr_lab.system.resources import Clock
from asr_lab.system.stopping import held
from asr_lab.system.terminal import Console
from asr_lab.system.threads import choose, use_threads

_LOOK_EVERY_S = 0.5
_CHECKPOINTS, _JOINED = Path("checkpoints"), "joined-"
_MOST_DEATHS = 3  # of jobs beyond one a trial: they die before they begin one


@dataclass(frozen=True)
class Jobs:
    """The jobs that run the trials of a sweep."""

    engine: Engine
    count: int
    """How many run at a time."""
    command: Callable[[int], Sequence[str]]
    """What the job of a number runs, which comes to `run_job`."""


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
    planned: StudyPlan, backends: Backends, console: Console, *, asked: int, timeout_s: float, jobs: Jobs | None = None
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

        return _led(planned, backends, study, tracker, store, console, timeout_s, jobs, look)


def _led(
    planned: StudyPlan,
    backends: Backends,
    study: Study,
    tracker: RunKeeper,
    store: ModelStore,
    console: Console,
    timeout_s: float,
    jobs: Jobs | None,
    look: Callable[[], None],
) -> SweepResult:
    spec, parent, asked = _spec(planned), study.user_attrs.get(PARENT, ""), study.user_attrs[ASKED]
    with tracker.reopen(spec, parent) if parent else tracker.start(spec) as run:
        study.set_user_attr(PARENT, run.run_id)
        clock = Clock()
        shared = run.checkpoints / "frames"
        job = Job(planned, run.run_id, asked, _until(timeout_s), choose().number, shared, backends)
        study.set_user_attr(SHARED, str(shared.absolute()))
        study.set_user_attr(UNTIL, planned.location.now() + timeout_s if timeout_s else None)
        console.say("{} [bold]{}[/] in {}", "continuing" if parent else "sweep", run.name, planned.location.shown)
        _prepare(job, store, run, console)
        with TrialProgress(console, study, planned.objective, asked) as progress:
            try:
                if jobs:
                    earlier = study.user_attrs.get(JOBS, {})
                    _by_jobs(job, study, jobs, progress, look, earlier, lambda ids: study.set_user_attr(JOBS, ids))
                else:
                    _here(job, study, tracker, store, progress, look)
            except AsrLabError:
                record(SweepResult.of(planned, study, run), study, run)
                raise
        result = SweepResult.of(planned, study, run)
        record(result, study, run)
        run.metrics({"perf/seconds": clock.seconds})
    return result


def join(
    planned: StudyPlan, backends: Backends, console: Console, *, timeout_s: float, jobs: Jobs | None = None
) -> int:
    """Join a sweep that another process leads; return the number of trials run here."""
    tracker, store = backends.make_tracker(), backends.make_store()
    study = planned.open(tracker, draws=(zlib.crc32(process_mark().encode()),))
    folder = _joined_folder()
    job = _joined(planned, backends, study, store, folder, _until(timeout_s))
    lost = LostTrials(study, tracker, planned.location.has_died)
    before = {trial.number for trial in trial_states.over(study.get_trials(deepcopy=False))}
    try:
        with TrialProgress(console, study, planned.objective, job.asked) as progress:
            if jobs:
                pids = _by_jobs(job, study, jobs, progress, lost.retry, {}, lambda ids: None)
            else:
                pids = _here(job, study, tracker, store, progress, lost.retry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ended = trial_states.over(trial_states.counted(study.get_trials(deepcopy=False)))
    return sum(trial_states.was_run_by(pids, trial) for trial in ended if trial.number not in before)


def run_job(planned: StudyPlan, backends: Backends, number: int) -> None:
    """Run trials of a sweep that another process leads, until none may begin; `number` seeds what it proposes."""
    tracker, store = backends.make_tracker(), backends.make_store()
    study = planned.open(tracker, draws=(0, number))
    folder = _joined_folder()
    shared = Path(str(study.user_attrs.get(SHARED) or folder))
    job = _joined(planned, backends, study, store, shared if shared.is_dir() else folder, _until(0))
    use_threads(job.threads)
    worker = Worker(job, study, tracker, store)
    try:
        with planned.location.running():
            while job.may_begin(study.get_trials(deepcopy=False)):
                worker.run_one()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _joined(planned: StudyPlan, backends: Backends, study: Study, store: ModelStore, shared: Path, until: float) -> Job:
    """Return the settings that the leader stored. Raise `AsrLabError` if there are none yet."""
    parent = study.user_attrs.get(PARENT, "")
    if not parent:
        raise AsrLabError(
            f"the study {planned.name!r} has no run yet",
            where=planned.location.shown,
            hint="it is just starting: try again in a moment",
        )
    planned.claim(study, store)
    if leaders := study.user_attrs.get(UNTIL):
        until = min(until, time.monotonic() + float(leaders) - planned.location.now())
    return Job(planned, parent, int(study.user_attrs.get(ASKED, 0)), until, choose().number, shared, backends)


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


def _prepare(job: Job, store: ModelStore, run: Recorder, console: Console) -> None:
    """Compute once what the trials share."""
    training = job.backends.training_of(job.plan.space.recipe, store, job.shared)
    if spent := training.prepare(job.plan.space.one, console):
        run.metrics(spent)


def _here(
    job: Job,
    study: Study,
    tracker: RunKeeper,
    store: ModelStore,
    progress: TrialProgress,
    look: Callable[[], None],
) -> set[int]:
    """Run trials in this process until there are enough; return its number. `look` retries those of dead processes."""
    use_threads(job.threads)
    worker = Worker(job, study, tracker, store)
    with job.plan.location.running():
        while True:
            while job.may_begin(study.get_trials(deepcopy=False)):
                worker.run_one()
                progress.report(study)
            if not _wait(job, study, progress, look):
                return {os.getpid()}


def _wait(job: Job, study: Study, progress: TrialProgress, look: Callable[[], None]) -> bool:
    """Wait for trials that others run; return whether there is work again because one of them was lost."""
    while True:
        look()
        trials = study.get_trials(deepcopy=False)
        if job.may_begin(trials):
            return True
        if not any(trial.state == TrialState.RUNNING for trial in trial_states.counted(trials)):
            return False
        progress.report_waiting(study)
        time.sleep(_LOOK_EVERY_S)


def _by_jobs(
    job: Job,
    study: Study,
    jobs: Jobs,
    progress: TrialProgress,
    look: Callable[[], None],
    earlier: Mapping[str, Sequence[str]],
    note: Callable[[dict[str, list[str]]], None],
) -> set[int]:
    """Have jobs run trials until there are enough; return their processes, as far as they are on this machine.

    `earlier` are the ids of jobs that a former leader submitted. `note` stores those that are there, so that the next
    leader finds them.
    """
    name = jobs.engine.name
    crew = Crew(jobs.engine, jobs.command, most=job.asked + jobs.count + _MOST_DEATHS)
    crew.adopt(earlier.get(name, ()))
    noted: list[str] = []
    try:
        while True:
            trials = study.get_trials(deepcopy=False)
            if job.may_begin(trials):
                left = job.asked - len(trial_states.over(trial_states.counted(trials)))
                crew.fill(min(jobs.count, max(1, left)))
            else:
                crew.cancel(waiting=True)
            if crew.ids != noted:
                noted = crew.ids
                note({name: noted})
            time.sleep(_LOOK_EVERY_S)
            crew.look()
            look()
            progress.report(study)
            if not crew.tasks and not _wait(job, study, progress, look):
                note({})
                return crew.pids
    finally:
        with held():
            crew.cancel()
