"""What every family's recipe offers: a plan before anything is spent, and the run itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console

from asr_lab.config.schema import Experiment
from asr_lab.families import family, find
from asr_lab.interfaces.tracking import ModelStore, Tracker
from asr_lab.reports.summary import Summary


class Plan(Protocol):
    """All that is known before anything is spent: the data, read and checked, and what will be trained or scored."""

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
    """Does what a configuration says, recorded by the tracker; `store` gives the models it starts from."""

    def __call__(self, config: Any, tracker: Tracker, console: Console, *, store: ModelStore) -> Outcome: ...


@dataclass(frozen=True)
class Recipe:
    """How a family's configurations are planned and run; each family names one in `asr_lab.families`."""

    plan: Callable[[Any, ModelStore], Plan]
    run: Run


def recipe_of(config: Experiment) -> Recipe:
    """The recipe of a configuration's family."""
    recipe: Recipe = find(family(config.recipe).recipe)
    return recipe
