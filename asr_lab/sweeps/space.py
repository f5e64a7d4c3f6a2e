"""The search space of a sweep: an experiment and the domains of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.trial import BaseTrial

from asr_lab.config.dotted import leaves, nest
from asr_lab.config.identity import defaults
from asr_lab.config.load import keys, load
from asr_lab.config.schema import Experiment, SweepExperiment
from asr_lab.config.schema.base import SPLITS
from asr_lab.config.schema.sweep import AnyDomain, Choices, Floats, Integers, Lists
from asr_lab.config.yaml_files import read_yaml
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import config_class, sweepable
from asr_lab.recipes.own_data import Splits, complete

_SAMPLES = 12  # drawn to see whether a value can go with any others


class Space:
    """The search space."""

    def __init__(self, sweep: SweepExperiment) -> None:
        """Raise `AsrLabError` for an unknown experiment, key or condition."""
        self.sweep = sweep
        content = read_yaml(sweep.experiment)
        self.recipe = str(content.get("recipe", ""))
        if self.recipe not in sweepable():
            raise AsrLabError(
                f"experiments of the recipe {self.recipe!r} cannot be swept",
                where=str(sweep.experiment),
                allowed=listing(sweepable()),
            )
        self.kind = config_class(self.recipe)
        self._given = dict(leaves(nest(content))) | sweep.fixed
        self.usual = defaults(self.kind) | self._given
        self._check_keys()
        own = self._own_splits({})
        self.notes = own.notes
        """A line on each split that is not given."""
        self.usual |= {f"data.{split}": path for split, path in own.paths.items()}
        if self.usual.get("data.each"):
            raise AsrLabError("a sweep adapts to one speaker", allowed="adapter.name and data.train of one speaker")

    def _check_keys(self) -> None:
        """Raise one `AsrLabError` for all keys that the experiment does not have."""
        known = keys(self.kind)
        asked = [("space", key) for key in self.sweep.space]
        asked += [("fixed", key) for key in self.sweep.fixed] + [("final", key) for key in self.sweep.final]
        asked += [(f"space.{key}.when", other) for key, one in self.sweep.space.items() for other in one.when]
        wrong = [f"{where}.{key}: {_no_such(key, known)}" for where, key in asked if key not in known]
        wrong += [f"space.{key}: the recipe stays" for key in self.sweep.space if key == "recipe"]
        order = {key: index for index, key in enumerate(self.sweep.space)}
        for key, domain in self.sweep.space.items():
            late = [other for other in domain.when if order.get(other, -1) >= order[key]]
            wrong += [f"space.{key}.when.{other}: it has to stand before {key} in the space" for other in late]
        if wrong:
            word = "error" if len(wrong) == 1 else "errors"
            raise AsrLabError(
                f"{len(wrong)} {word} in the space:\n    " + "\n    ".join(wrong), where=str(self.sweep.experiment)
            )

    # drawing

    def draw(self, trial: BaseTrial) -> dict[str, Any]:
        """Return the searched keys with the values that the sampler proposes."""
        chosen: dict[str, Any] = {}
        for key, domain in self.sweep.space.items():
            if all((chosen | self._else(chosen)).get(other) in wanted for other, wanted in domain.when.items()):
                chosen[key] = _suggest(trial, key, domain)
        return chosen

    def _else(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in self.usual.items() if key not in chosen}

    def config(self, chosen: Mapping[str, Any]) -> Experiment:
        """Return the experiment with these values. Raise `AsrLabError` if they are inconsistent."""
        own = {f"data.{split}": path for split, path in self._own_splits(chosen).paths.items()}
        made: Experiment = load(self.sweep.experiment, {**self.sweep.fixed, **chosen, **own}, self.recipe)
        return made

    def _own_splits(self, chosen: Mapping[str, Any]) -> Splits:
        """Return the splits that are not given, beside those that are, and those of folders."""
        given = self._given | dict(chosen)
        paths = {split: str(given[f"data.{split}"]) for split in SPLITS if f"data.{split}" in given}
        return complete(self.kind, paths)

    def samples(self, count: int, fixed: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Draw random samples, with some of Optuna's parameters fixed."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self.sweep.seed))
        for _ in range(count):
            study.enqueue_trial(dict(fixed or {}))
        return [self.draw(study.ask()) for _ in range(count)]

    def described(self) -> dict[str, str]:
        """Return key -> its domain in words."""
        return {key: _words(domain) for key, domain in self.sweep.space.items()}

    def check_values(self) -> None:
        """Raise `AsrLabError` for a bound or choice that no trial could have, or a `final` that fits no trial."""
        where = str(self.sweep.experiment)
        for key, domain in self.sweep.space.items():
            for name, value in _extremes(key, domain):
                if why := self._refused({name: value}, {}):
                    raise AsrLabError(f"space.{key}: no trial can have {value}: {why}", where=where)
        if self.sweep.final and (why := self._refused({}, self.sweep.final)):
            raise AsrLabError(f"final: no trial can be trained again with it: {why}", where=where)

    def _refused(self, parameters: Mapping[str, Any], final: Mapping[str, Any]) -> str:
        """Return why no sampled trial with these parameters, overridden by `final`, is valid; "" if one is."""
        why = ""
        for chosen in self.samples(_SAMPLES, parameters):
            try:
                self.config({**chosen, **final})
            except AsrLabError as error:
                why = error.what
            else:
                return ""
        return why

    def grid(self) -> dict[str, Sequence[Any]]:
        """Return parameter -> all values, for the grid sampler. Raise `AsrLabError` if they are infinite."""
        lists = [key for key, domain in self.sweep.space.items() if isinstance(domain, Lists)]
        if lists:
            raise AsrLabError(f"space.{lists[0]}: a grid has no lists", allowed="choices, which may be lists")
        return {key: self._values(key, domain) for key, domain in self.sweep.space.items()}

    def count(self) -> int:
        """Return the number of different experiments, ignoring keys whose condition is not met.

        Raise `AsrLabError` if it is infinite.
        """
        return self._count(list(self.sweep.space), {})

    def _count(self, left: list[str], chosen: Mapping[str, Any]) -> int:
        if not left:
            return 1
        key, rest = left[0], left[1:]
        domain = self.sweep.space[key]
        if not all({**self.usual, **chosen}.get(other) in wanted for other, wanted in domain.when.items()):
            return self._count(rest, chosen)
        if isinstance(domain, Lists):
            num_values, (short, long) = len(self._values(key, domain.of)), domain.length
            lists: int = sum(num_values**length for length in range(short, long + 1))
            return lists * self._count(rest, chosen)
        values = self._values(key, domain)
        if not any(key in self.sweep.space[other].when for other in rest):
            return len(values) * self._count(rest, chosen)
        return sum(self._count(rest, {**chosen, key: value}) for value in values)

    def _values(self, key: str, domain: AnyDomain) -> Sequence[Any]:
        if isinstance(domain, Choices):
            return [_label(choice) for choice in domain.choices]
        if isinstance(domain, Integers) and not domain.log:
            return list(range(domain.low, domain.high + 1, domain.step))
        if isinstance(domain, Floats) and domain.step:
            count = int((domain.high - domain.low) / domain.step + 1e-9) + 1
            return [domain.low + domain.step * index for index in range(count)]
        name = self.sweep.sampler.name
        raise AsrLabError(
            f"space.{key} has infinitely many values",
            allowed=f"choices or steps with sampler={name}, or sampler=random",
        )

    def one(self) -> Experiment:
        """Return a valid experiment of the space."""
        for chosen in self.samples(_SAMPLES * _SAMPLES):
            with suppress(AsrLabError):
                return self.config(chosen)
        raise AsrLabError(
            "no sampled combination of values in the space is a valid experiment", where=str(self.sweep.experiment)
        )


def _words(domain: AnyDomain) -> str:
    if isinstance(domain, Choices):
        text = "one of " + ", ".join(str(list(one) if isinstance(one, tuple) else one) for one in domain.choices)
    elif isinstance(domain, Lists):
        short, long = domain.length
        text = f"{short} to {long} times {_words(domain.of)}" if short < long else f"{short} times {_words(domain.of)}"
    else:
        step = f" in steps of {domain.step:g}" if domain.step not in (None, 1) else ""
        whole = "whole numbers " if isinstance(domain, Integers) else ""
        text = f"{whole}{domain.low:g} to {domain.high:g}{step}{', by logarithm' if domain.log else ''}"
    conditions = [f"{key} is {' or '.join(map(str, values))}" for key, values in domain.when.items()]
    return text + (f", where {' and '.join(conditions)}" if conditions else "")


def _suggest(trial: BaseTrial, name: str, domain: AnyDomain) -> Any:
    if isinstance(domain, Integers):
        return trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
    if isinstance(domain, Floats):
        return trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)
    if isinstance(domain, Choices):
        labels = [_label(choice) for choice in domain.choices]
        value = domain.choices[labels.index(trial.suggest_categorical(name, labels))]  # type: ignore[arg-type]
        return list(value) if isinstance(value, tuple) else value
    short, long = domain.length
    length = trial.suggest_int(f"{name}.length", short, long) if short < long else short
    return [_suggest(trial, f"{name}.{index}", domain.of) for index in range(length)]


def _label(choice: Any) -> bool | int | float | str:
    """Return a choice as Optuna stores it: a list as `512,256`."""
    return ",".join(map(str, choice)) if isinstance(choice, tuple | list) else choice


def _extremes(key: str, domain: AnyDomain) -> Iterator[tuple[str, Any]]:
    """Yield (parameter, value): bounds of a range, every choice, bounds or choices of the first list item."""
    if isinstance(domain, Choices):
        yield from ((key, _label(choice)) for choice in domain.choices)
    elif isinstance(domain, Lists):
        yield from _extremes(f"{key}.0", domain.of)
    else:
        yield from ((key, domain.low), (key, domain.high))


def _no_such(key: str, known: Mapping[str, str]) -> str:
    near = nearest(key, known) or nearest(key.rpartition(".")[2], (one.rpartition(".")[2] for one in known))
    near = next((one for one in known if one == near or one.endswith(f".{near}")), "")
    return "no such key" + (f"; did you mean {near}?" if near else "")
