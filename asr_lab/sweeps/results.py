"""The result of a sweep: table, figures, page, and the configuration of the best trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from asr_lab.config import identity
from asr_lab.config.schema import Experiment
from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics.catalog import Direction
from asr_lab.reports.markdown import code_span, escape_markdown
from asr_lab.reports.sweep import svg, sweep_page
from asr_lab.reports.table import csv_text
from asr_lab.sweeps import figures, trial_states
from asr_lab.sweeps.progress import best_line, values_line
from asr_lab.sweeps.storage import FOLDER
from asr_lab.sweeps.study import StudyPlan
from asr_lab.system.files import write_text

_HEADINGS = {
    "pareto": "Pareto front",
    "history": "History",
    "importance": "Which parameters matter",
    "slice": "Parameter by parameter",
    "contour": "Pairs of parameters",
    "intermediate": "While they trained",
}
_PARALLEL = "parallel"
"""The figure that the page draws itself, to the width of the screen."""


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep."""

    plan: StudyPlan
    run_id: str
    run_name: str
    trials: list[FrozenTrial]
    """The trials that count, in order."""
    best: list[FrozenTrial]
    """The best trial; with two objectives, the Pareto front; empty if none finished."""
    config: Experiment | None
    """Configuration of the best trial (the first of the front)."""

    @classmethod
    def of(cls, plan: StudyPlan, study: Study, run: Recorder) -> SweepResult:
        """Return the result so far."""
        trials = trial_states.counted(study.get_trials(deepcopy=False))
        finished = any(trial.state == TrialState.COMPLETE for trial in trials)
        best = _best(study) if finished else []
        config = plan.space.config(plan.space.draw(FixedTrial(best[0].params))) if best else None
        return cls(plan, run.run_id, run.name, trials, best, config)

    @property
    def file(self) -> Path:
        """Path of the best trial's configuration."""
        return FOLDER / f"{self.plan.name}-best.yaml"

    @property
    def command(self) -> str:
        """Command that runs the best trial again."""
        return f"asr-lab {'adapter --config' if self.plan.space.recipe == 'adapter' else 'train'} {self.file}"

    def final_config(self) -> Experiment:
        """Return the best trial's configuration, overridden by the keys of `final`."""
        space = self.plan.space
        return space.config({**space.draw(FixedTrial(self.best[0].params)), **space.sweep.final})

    def counts(self) -> dict[str, int]:
        """Return state -> number of trials."""
        states = [_state(trial) for trial in self.trials]
        return {state: states.count(state) for state in ("finished", "pruned", "failed", "running") if state in states}

    def table(self) -> pd.DataFrame:
        """Return one row per trial, best first: `trial, state`, objective values, parameters, run."""
        metrics = self.plan.objective.metrics
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.params))
        rows = [
            {
                "trial": trial.number,
                "state": _state(trial),
                **dict(zip(metrics, trial.values or [None] * len(metrics), strict=True)),
                **{name: trial.params.get(name) for name in names},
                "run": str(trial.user_attrs.get(trial_states.RUN, ""))[:8],
                "why": str(trial.user_attrs.get(trial_states.REASON, "")),
            }
            for trial in self.trials
        ]
        columns = ["trial", "state", *metrics, *names, "run", "why"]
        table = pd.DataFrame(rows, columns=columns)
        if not table["why"].any():
            table = table.drop(columns="why")
        rising = [direction == "minimize" for direction in self.plan.objective.directions]
        return table.sort_values(list(metrics), ascending=rising, na_position="last", kind="stable")

    def axes(self) -> dict[str, Direction]:
        """Return parameters and objectives with their directions, for the parallel coordinates."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.params)
        objective = self.plan.objective
        sides: dict[str, Direction] = {
            metric: "lower" if side == "minimize" else "higher"
            for metric, side in zip(objective.metrics, objective.directions, strict=True)
        }
        return {**dict.fromkeys(names, "neither"), **sides}

    def sentences(self) -> list[str]:
        """Return a summary, one line per entry."""
        lines = [", ".join(f"{count} {state}" for state, count in self.counts().items())]
        lines += [f"trial {trial.number}: {values_line(trial, self.plan.objective)}" for trial in self.best[:5]]
        warning = self.plan.objective.warning(self.plan.space.usual)
        tied = [
            f"Note: all finite values of {metric} are the same: no parameter is shown to matter"
            for place, metric in enumerate(self.plan.objective.metrics)
            if figures.all_tie(self.trials, place)
        ]
        return lines + ([f"Note: {warning}"] if warning else []) + tied

    def yaml(self) -> str:
        """Return the best trial's configuration as YAML, with its origin in a comment."""
        assert self.config is not None
        best = f"{values_line(self.best[0], self.plan.objective)} (trial {self.best[0].number} of {self.run_name})"
        return f"# {best}\n#   {self.command}\n{identity.dump_yaml(self.config)}"


def record(result: SweepResult, study: Study, run: Recorder) -> None:
    """Log table, figures, page and the best trial's configuration, which is also written to a local file."""
    counts = result.counts()
    run.metrics({f"sweep/{state}": count for state, count in counts.items()} | {"sweep/trials": len(result.trials)})
    table = result.table()
    run.text(csv_text(table), "trials.csv")
    if result.best:
        values: Sequence[float] = result.best[0].values
        figures_of_best = result.best[0].user_attrs.get(trial_states.FIGURES, {})
        run.metrics(figures_of_best | dict(zip(result.plan.objective.metrics, values, strict=True)))
        run.metrics({"sweep/best_trial": result.best[0].number})
        write_text(result.file, result.yaml())
        run.text(result.yaml(), "best.yaml")
    drawn = figures.figures(study, result.plan.objective.metrics)
    for name, figure in drawn.items():
        run.figure(figure, f"figures/{name}.png")
    static = {name: figure for name, figure in drawn.items() if not name.startswith(_PARALLEL)}
    pictures = {_heading(name, result.plan.objective.metrics): svg(figure) for name, figure in static.items()}
    figures.close(drawn)
    best = [trial.number for trial in result.best]
    axes = result.axes() if len(static) < len(drawn) else {}
    run.text(sweep_page(run.name, result.sentences(), pictures, table, best, axes), "sweep.html")
    note = [
        *map(escape_markdown, result.sentences()),
        f"again: {code_span(result.command)}" if result.best else best_line(study, result.plan.objective),
    ]
    run.note("\n".join(f"- {line}" for line in note))


def _best(study: Study) -> list[FrozenTrial]:
    """Return the best trial (ties: the first), or the Pareto front of two objectives."""
    return study.best_trials if len(study.directions) > 1 else [study.best_trial]


def _heading(name: str, metrics: tuple[str, ...]) -> str:
    plain, _, number = name.partition("-")
    return _HEADINGS[plain] + (f": {metrics[int(number) - 1]}" if number else "")


def _state(trial: FrozenTrial) -> str:
    names: dict[Any, str] = {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    return names.get(trial.state, "running")
