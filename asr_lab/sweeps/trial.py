"""A trial as a run: the run of the recipe becomes a child of the sweep's run, and is watched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import yaml
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tags import SWEEP, TRIAL
from asr_lab.interfaces.tracking import FinishedRun, PrunedError, Recorder, RunSpec, Tracker
from asr_lab.metrics.catalog import figures
from asr_lab.sweeps.objective import Objective
from asr_lab.sweeps.trial_states import RUN, SEEDS


class Watch:
    """Watches the metrics of a training, prunes its trial, and decides whether to save its model."""

    def __init__(self, trial: Trial, objective: Objective, models: str, *, prunes: bool) -> None:
        self.trial, self.objective, self.models, self.prunes = trial, objective, models, prunes
        self.latest: dict[str, float] = {}
        self._reports = 0

    @property
    def figures(self) -> dict[str, float]:
        """The last values, on validation those of the best epoch."""
        return figures(self.latest)

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Report to Optuna by epoch, from 1: updates are not comparable between batch sizes."""
        self.latest |= values
        name = self.objective.prune_on
        is_final = f"{name}_low" in values  # with its interval
        if not self.prunes or name not in values or is_final:
            return
        self._reports += 1
        self.trial.report(values[name], self._reports)
        if self.trial.should_prune():
            raise PrunedError(f"pruned after {self._reports} reports: {name} {values[name]:.4g}")

    def wants_model(self) -> bool:
        if self.models != "best":
            return self.models == "all"
        own = [self.figures.get(name, math.nan) for name in self.objective.metrics]
        signs = [-1 if direction == "maximize" else 1 for direction in self.objective.directions]
        return not any(math.isnan(value) for value in own) and not any(
            all(sign * other <= sign * value for sign, other, value in zip(signs, values, own, strict=True))
            for values in finished_values(self.trial.study)
        )


def finished_values(study: Study) -> list[list[float]]:
    """Return the values of the finished trials."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial.values for trial in trials]


class TrialTracker:
    """Starts the runs of a recipe: the first is the trial's run or, with several seeds, a child of it."""

    def __init__(
        self, inner: Tracker, trial: Trial, *, parent: str, name: str, objective: Objective, models: str, seeds: int
    ) -> None:
        self.inner, self.trial, self.parent, self.name, self.seeds = inner, trial, parent, name, seeds
        self.objective, self.models = objective, models if seeds == 1 or models == "all" else "none"
        self.watches: list[Watch] = []
        self.run: Recorder | None = None
        self.spec: RunSpec
        """Of that run, once there is one."""
        self._begun = 0

    def next_seed(self) -> None:
        """Begin another training of the same trial."""
        self.watches.append(
            Watch(self.trial, self.objective, self.models, prunes=not self.watches and len(self.objective.metrics) == 1)
        )

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        """Start the run of a training, or a child run of the recipe."""
        if self._begun == len(self.watches):
            return self.inner.start(replace(spec, registers=False), own=True)
        self._begun += 1
        watched = replace(spec, registers=False, resumable=False, watcher=self.watches[-1])
        if self.seeds == 1:
            return self._trial_run(replace(watched, parent=self.parent))
        if self.run is None:
            self._trial_run(replace(spec, parent=self.parent, registers=False, resumable=False)).__enter__()
        assert self.run is not None
        one = self.inner.start(replace(watched, kind="seed", parent=self.run.run_id), own=True)
        self.trial.set_user_attr(SEEDS, [*self.trial.user_attrs.get(SEEDS, ()), one.run_id])
        return one

    def finished(self, spec: RunSpec, *, own: bool = False) -> FinishedRun | None:
        """None: each trial is trained."""
        return None

    def _trial_run(self, spec: RunSpec) -> Recorder:
        number = self.trial.number
        tags = {**spec.tags, TRIAL: str(number), SWEEP: self.name}
        self.spec = replace(spec, kind="trial", name=f"{self.name}-{number:03d}", tags=tags, resumable=False)
        self.run = self.inner.start(self.spec, own=True)
        try:
            self.trial.set_user_attr(RUN, self.run.run_id)
        except UpdateFinishedTrialError:  # another process took the trial over
            with self.run:
                raise
        return self.run

    def refuse(self, recipe: str, chosen: Mapping[str, Any], error: Exception) -> None:
        """Record a trial that failed before its run was begun, as one whose values do not go together: raise the error
        from a run that FAILED at once."""
        spec = RunSpec(
            family=recipe,
            kind="trial",
            model_type=recipe,
            name=self.name,
            signature="",
            params=chosen,
            config_yaml=yaml.safe_dump(dict(chosen), allow_unicode=True),
            parent=self.parent,
            registers=False,
        )
        try:
            with self._trial_run(spec):
                raise error
        finally:
            self.run = None  # it has ended

    def conclude(self, error: BaseException | None) -> None:
        """With several seeds: end the trial's run, with the means of its trainings."""
        if self.seeds == 1 or self.run is None:
            return
        if error is None:
            self.run.metrics(self.means())
        self.run.__exit__(type(error) if error else None, error, None)

    def means(self) -> dict[str, float]:
        """Return the mean of each metric that all trainings logged, and the standard deviation of the objective."""
        latest = [watch.figures for watch in self.watches]
        shared = set.intersection(*(set(one) for one in latest)) if latest else set()
        metrics = {name: mean(one[name] for one in latest) for name in sorted(shared)}
        if len(latest) > 1:
            metrics |= {
                f"{name}_std": stdev(one[name] for one in latest) for name in self.objective.metrics if name in shared
            }
        return metrics

    def values(self) -> list[float]:
        """Return the objective's values. Raise `AsrLabError` if one was not logged or is NaN."""
        means = self.means()
        for name in self.objective.metrics:
            if math.isnan(means.get(name, math.nan)):
                raise AsrLabError(f"{name} is {'not a number' if name in means else 'not logged'}")
        return [means[name] for name in self.objective.metrics]
