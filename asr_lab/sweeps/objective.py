"""What a sweep seeks, and what it may look at while a trial runs; both known to be logged before the first trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asr_lab.config.schema import SweepExperiment
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import Family, family
from asr_lab.metrics.catalog import direction


@dataclass(frozen=True)
class Objective:
    """One metric or two, each with the way that is better, and the metric that trials are pruned by."""

    metrics: tuple[str, ...]
    directions: tuple[Literal["minimize", "maximize"], ...]
    """Optuna's."""
    prune_on: str
    """"" where there is none."""

    @classmethod
    def of(cls, sweep: SweepExperiment, recipe: str, settings: Mapping[str, Any]) -> Objective:
        """`settings` are the keys of the experiment; raises `AsrLabError` for a metric that it will not log."""
        trained = family(recipe)
        logged = _logged(trained, settings)
        ways: list[Literal["minimize", "maximize"]] = []
        for name, given in sweep.objective.items():
            _refuse(name, logged, recipe, settings)
            way = given or direction(name)
            if way == "neither":
                raise AsrLabError(
                    f"metric {name} has no known direction",
                    allowed=f"objective: {{{name}: lower}}, or higher",
                )
            ways.append("maximize" if way == "higher" else "minimize")
        prune_on = sweep.pruner.metric or _default_pruning(trained, tuple(sweep.objective), logged)
        if sweep.pruner.name != "none":
            if not prune_on:
                raise AsrLabError(
                    "an adapter is not validated while it trains: there is nothing to prune by",
                    allowed="pruner: none, or data.cross_fit, whose folds are looked at one by one",
                )
            _refuse(prune_on, logged, recipe, settings)
            _refuse_opposite(prune_on, next(iter(sweep.objective)), ways[0])
        return cls(tuple(sweep.objective), tuple(ways), prune_on)

    def warning(self, settings: Mapping[str, Any]) -> str:
        """What must be said of the choice, or ""."""
        own_test = settings.get("data.test") and not settings.get("data.cross_fit")
        if own_test and any(name.startswith("test/") for name in self.metrics):
            return (
                f"the best trial is chosen on the test data ({settings['data.test']}): these figures of it flatter; "
                "choose on val/..., or an adapter on what is held out of data.train (data.test_share, data.cross_fit)"
            )
        return ""


def _default_pruning(trained: Family, sought: tuple[str, ...], logged: list[str]) -> str:
    """What trials are pruned by if nobody says it: what is sought, where it is seen while they train, or what ranks the
    runs of the family; "" where nothing is seen."""
    seen = (*sought, *trained.decides, *trained.watched)
    return next((name for name in seen if name in logged and (name.startswith("val/") or name in trained.watched)), "")


def _refuse_opposite(prune_on: str, sought: str, way: str) -> None:
    """Optuna's pruners know one way that is better: that of the objective."""
    own = direction(prune_on)
    if prune_on != sought and own != "neither" and (own == "higher") != (way == "maximize"):
        raise AsrLabError(
            f"pruner.metric={prune_on} is better {own}, and {sought} the other way: pruners know one way",
            allowed=f"pruner.metric of the same way as {sought}, or pruner: none",
        )


def _logged(trained: Family, settings: Mapping[str, Any]) -> list[str]:
    """The metrics that runs with these settings log."""
    return [name for name in trained.logs if not _lacking(trained, name, settings)]


def _lacking(trained: Family, metric: str, settings: Mapping[str, Any]) -> str:
    """The first setting that a metric needs and the settings lack; "" where it is logged."""
    for needed in trained.needed(metric):
        key, _, value = needed.partition("=")
        given = settings.get(key)
        if not given or (value and str(given).lower() != value):
            return needed
    return ""


def _refuse(name: str, logged: list[str], recipe: str, settings: Mapping[str, Any]) -> None:
    """Slices (`val/wer_by_age/5`) depend on the data: the metric that is sliced has to be logged."""
    if name.split("_by_")[0] in logged:
        return
    why = ""
    if name in family(recipe).logs:
        why = f" without {_lacking(family(recipe), name, settings)}"
    near = "" if why else nearest(name, logged)
    raise AsrLabError(
        f"no {recipe} logs the metric {name!r}{why}" + (f"; did you mean {near!r}?" if near else ""),
        allowed=listing([one for one in logged if direction(one) != "neither"], 20),
    )
