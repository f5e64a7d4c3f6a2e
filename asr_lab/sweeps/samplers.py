"""Optuna's samplers and pruners by name, with their options checked."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from math import inf, prod
from typing import Any

import numpy as np
from optuna import pruners, samplers

from asr_lab.config.schema import SweepExperiment
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.sweeps.space import Space

_SAMPLERS: dict[str, type[samplers.BaseSampler]] = {
    "tpe": samplers.TPESampler,
    "random": samplers.RandomSampler,
    "gp": samplers.GPSampler,
    "qmc": samplers.QMCSampler,
    "nsga2": samplers.NSGAIISampler,
    "nsga3": samplers.NSGAIIISampler,
    "cmaes": samplers.CmaEsSampler,
    "grid": samplers.GridSampler,
    "brute_force": samplers.BruteForceSampler,
}
_PRUNERS: dict[str, type[pruners.BasePruner]] = {
    "none": pruners.NopPruner,
    "median": pruners.MedianPruner,
    "percentile": pruners.PercentilePruner,
    "successive_halving": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
    "threshold": pruners.ThresholdPruner,
    "patient": pruners.PatientPruner,
}


def sampler(sweep: SweepExperiment, space: Space, *draws: int) -> samplers.BaseSampler:
    """Return the sampler; `draws` seed workers and resumed sweeps differently."""
    name, options = sweep.sampler.name, dict(sweep.sampler.options)
    if name == "cmaes" and not find_spec("cmaes"):
        raise AsrLabError("sampler=cmaes needs the package cmaes", next_command="pip install cmaes")
    if name == "cmaes" and len(sweep.objective) > 1:
        raise AsrLabError("sampler=cmaes knows one objective", allowed="tpe, gp, nsga2, nsga3, random, qmc")
    if name == "brute_force":
        space.count()
    if name == "grid":
        options["search_space"] = space.grid()
        draws = ()  # all of them walk through one grid
    if name == "qmc":
        draws = ()  # one sequence, indexed by the trial's number
    options.setdefault("seed", int(np.random.SeedSequence([sweep.seed, *draws]).generate_state(1)[0]))
    made: samplers.BaseSampler = _made(f"sampler={name}", _SAMPLERS[name], options)
    return made


def max_trials(sweep: SweepExperiment, space: Space) -> float:
    """Return the maximum number of trials, which is finite for a grid."""
    if sweep.sampler.name == "grid":
        return prod(map(len, space.grid().values()))
    return space.count() if sweep.sampler.name == "brute_force" else inf


def pruner(sweep: SweepExperiment) -> pruners.BasePruner:
    """Return the pruner."""
    name, options = sweep.pruner.name, dict(sweep.pruner.options)
    if name == "patient":
        options.setdefault("wrapped_pruner", None)
    made: pruners.BasePruner = _made(f"pruner={name}", _PRUNERS[name], options)
    return made


def _made(what: str, kind: type, options: dict[str, Any]) -> Any:
    known = [name for name in inspect.signature(kind).parameters if name not in ("seed", "search_space")]
    for name in options.keys() - {*known, "seed", "search_space"}:
        near = nearest(name, known)
        raise AsrLabError(
            f"{what} has no option {name!r}" + (f"; did you mean {near!r}?" if near else ""),
            allowed=listing(known) or "no options",
        )
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise AsrLabError(f"{what}: {error}", allowed=listing(known) or "no options") from error
