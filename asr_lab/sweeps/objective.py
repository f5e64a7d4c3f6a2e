"""The objective of a sweep and the metric it prunes by, both checked to be logged before the first trial."""

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
    """One or two metrics with directions, and the metric that trials are pruned by."""

    metrics: tuple[str, ...]
    directions: tuple[Literal["minimize", "maximize"], ...]
    """Optuna's directions."""
    prune_on: str
    """"" if none."""

    @classmethod
    def of(cls, sweep: SweepExperiment, recipe: str, settings: Mapping[str, Any]) -> Objective:
        """`settings` are the keys of the experiment. Raise `AsrLabError` for a metric that it does not log."""
        trained = family(recipe)
        logged = _logged(trained, settings)
        directions: list[Literal["minimize", "maximize"]] = []
        for name, given in sweep.objective.items():
            _check_logged(name, logged, recipe, settings)
            better = given or direction(name)
            if better == "neither":
                raise AsrLabError(
                    f"metric {name} has no known direction",
                    allowed=f"objective: {{{name}: lower}}, or higher",
                )
            directions.append("maximize" if better == "higher" else "minimize")
        prune_on = sweep.pruner.metric or _default_pruning(trained, tuple(sweep.objective), logged)
        if sweep.pruner.name != "none":
            if not prune_on:
                raise AsrLabError(
                    "an adapter is not validated while it trains: there is nothing to prune by",
                    allowed="pruner: none, or data.cross_fit, which prunes after each fold",
                )
            _check_logged(prune_on, logged, recipe, settings)
            _check_same_direction(prune_on, next(iter(sweep.objective)), directions[0])
        return cls(tuple(sweep.objective), tuple(directions), prune_on)

    def warning(self, settings: Mapping[str, Any]) -> str:
        """Return a warning about the objective, or ""."""
        own_test = settings.get("data.test") and not settings.get("data.cross_fit")
        if own_test and any(name.startswith("test/") for name in self.metrics):
            return (
                f"the best trial is chosen on the test data ({settings['data.test']}): its figures are optimistic; "
                "choose on val/..., or an adapter on what is held out of data.train (data.test_share, data.cross_fit)"
            )
        return ""


def _default_pruning(trained: Family, sought: tuple[str, ...], logged: list[str]) -> str:
    """Return the default pruning metric: the objective if it is logged during training, else the metric that ranks the
    runs of the family; "" if neither is."""
    seen = (*sought, *trained.decides, *trained.watched)
    return next((name for name in seen if name in logged and (name.startswith("val/") or name in trained.watched)), "")


def _check_same_direction(prune_on: str, sought: str, wanted: str) -> None:
    """Raise `AsrLabError` if the pruner's metric has another direction than the objective."""
    own = direction(prune_on)
    if prune_on != sought and own != "neither" and (own == "higher") != (wanted == "maximize"):
        raise AsrLabError(
            f"pruner.metric={prune_on} is better {own}, but the objective {sought} is to be "
            f"{'higher' if wanted == 'maximize' else 'lower'}: a pruner compares in one direction",
            allowed=f"a pruner.metric with the direction of {sought}, or pruner: none",
        )


def _logged(trained: Family, settings: Mapping[str, Any]) -> list[str]:
    """Return the metrics that runs with these settings log."""
    return [name for name in trained.logs if not _lacking(trained, name, settings)]


def _lacking(trained: Family, metric: str, settings: Mapping[str, Any]) -> str:
    """Return the first missing setting that a metric needs; "" if it is logged."""
    for needed in trained.needed(metric):
        key, _, value = needed.partition("=")
        given = settings.get(key)
        if not given or (value and str(given).lower() != value):
            return needed
    return ""


def _check_logged(name: str, logged: list[str], recipe: str, settings: Mapping[str, Any]) -> None:
    """Raise `AsrLabError` if a metric is not logged; for a slice (`val/wer_by_age/5`), the metric that is sliced."""
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
