"""The interface of recipes: a plan, and the run itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from asr_lab.config.schema import Experiment
from asr_lab.families import family, find
from asr_lab.interfaces.tracking import ModelStore, Tracker
from asr_lab.reports.summary import Summary
from asr_lab.system.terminal import Console


class Plan(Protocol):
    """A checked plan of a run, made before any training or scoring."""

    @property
    def warnings(self) -> list[str]: ...

    @property
    def summary(self) -> Summary: ...


class Outcome(Protocol):
    """A finished run."""

    @property
    def run_id(self) -> str: ...

    @property
    def run_name(self) -> str: ...

    @property
    def summary(self) -> Summary: ...


class Run(Protocol):
    """Runs a configuration, recorded by the tracker; `store` resolves its models."""

    def __call__(self, config: Any, tracker: Tracker, console: Console, *, store: ModelStore) -> Outcome: ...


@dataclass(frozen=True)
class Recipe:
    """How configurations of a family are planned and run; named in `asr_lab.families`."""

    plan: Callable[[Any, ModelStore], Plan]
    run: Run


def recipe_of(config: Experiment) -> Recipe:
    """Return the recipe of a configuration's family."""
    recipe: Recipe = find(family(config.recipe).recipe)
    return recipe
