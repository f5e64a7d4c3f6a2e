"""Configuration of a sweep: an experiment, the search space of its keys, and the objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from asr_lab.config.dotted import leaves
from asr_lab.config.schema.base import Count, NotNegative, Positive, Section

Choice = bool | int | float | str | tuple[bool | int | float | str, ...]
_DOMAIN = {"type", "low", "high", "choices", "of"}  # keys that distinguish a domain from a section of keys


class Domain(Section):
    """The values that a key may take."""

    when: dict[str, tuple[bool | int | float | str, ...]] = Field(default_factory=dict)
    """Search this key only if preceding keys have one of these values, such as `model.tune: lora`; otherwise use the
    value of the experiment."""


class Range(Domain):
    """Numbers between two bounds, both included."""

    log: bool = False
    """Sample on a logarithmic scale, for learning rates and sizes."""

    def wrong(self) -> str:
        """Return what is wrong with the bounds, or ""."""
        low, high, step = (getattr(self, name) for name in ("low", "high", "step"))
        if low > high:
            return f"low={low} is above high={high}"
        if self.log and low <= 0:
            return f"low={low} has no logarithm; log=true needs a low above 0"
        if self.log and step not in (None, 1):
            return "log=true and step do not go together"
        if step is not None and not 0 < step <= max(high - low, 1):
            return f"step={step} does not fit between low={low} and high={high}"
        return ""


class Integers(Range):
    """Whole numbers."""

    type: Literal["int"] = "int"
    low: int
    high: int
    step: int = 1


class Floats(Range):
    """Numbers."""

    type: Literal["float"] = "float"
    low: float
    high: float
    step: float | None = None
    """Sample only `low`, `low + step`, ...; empty: any number."""


class Choices(Domain):
    """One of several values; a value may be a list."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Choice, ...] = Field(min_length=1)


class Lists(Domain):
    """A list of numbers or choices, of any length between two."""

    type: Literal["list"] = "list"
    of: Annotated[Integers | Floats | Choices, Field(discriminator="type")]
    """Domain of the elements."""
    length: tuple[Positive, Positive]
    """Shortest and longest list."""


AnyDomain = Annotated[Integers | Floats | Choices | Lists, Field(discriminator="type")]


class Sampler(Section):
    """Optuna's sampler, which proposes the next trial."""

    name: Literal["tpe", "random", "gp", "qmc", "nsga2", "nsga3", "cmaes", "grid", "brute_force"] = "tpe"
    """`tpe`: tree-structured Parzen estimator (Bergstra et al. 2011); `grid`: every combination of choices."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of Optuna's class, such as `n_startup_trials: 5` or `multivariate: true`."""


class Pruner(Section):
    """Optuna's pruner, which stops unpromising trials early."""

    name: Literal["none", "median", "percentile", "successive_halving", "hyperband", "threshold", "patient"] = "none"
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of Optuna's class, such as `n_warmup_steps: 3`."""
    metric: str = ""
    """The metric reported while a trial runs; empty: the one that ranks runs of the recipe, such as `val/wer`, or
    `fold/wer` for a cross-validated adapter."""


class SweepExperiment(Section):
    """Search an experiment's keys for the values with the best metrics."""

    recipe: Literal["sweep"] = "sweep"
    name: str = ""
    """Name of the study and of its files in `sweeps/`; empty: the name of the config file."""
    experiment: Path
    """The experiment whose keys are searched: a config file of `train` or `adapter`."""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """Keys of the experiment that are the same in all trials."""
    space: dict[str, AnyDomain]
    """Key of the experiment -> its domain: `{low: 1e-4, high: 1e-2, log: true}`, `[2, 4, 8]`,
    `{choices: [[256], [512, 256]]}`, `{of: {low: 32, high: 512}, length: [1, 3]}`; each may have a `when`."""
    objective: dict[str, Literal["", "lower", "higher"]]
    """The metric to optimise, or two (Pareto front); a direction is needed only for metrics that are not in the
    catalog."""
    trials: Positive = 20
    timeout_s: NotNegative = 0.0
    """Start no trial after this many seconds; 0: no limit."""
    seeds: Positive = 1
    """Number of seeds per trial (`run.seed` and the following); the objective is their mean."""
    seed: Count = 0
    """Seed of the sampler. With several workers, results also depend on the order in which they finish."""
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    models: Literal["best", "all", "none"] = "best"
    """Which trials save their model: those that are the best when they end (none with several seeds), all, or none."""
    final: dict[str, Any] = Field(default_factory=dict)
    """With `--retrain`: keys that override those of the best trial in the final training, such as `data.train`."""
    heartbeat_s: Positive = 30
    """On PostgreSQL: seconds between heartbeats of a running trial; a trial without one for twice as long is repeated.
    """

    @field_validator("space", mode="before")
    @classmethod
    def _domains(cls, value: Any) -> Any:
        return dict(_domains(value, "")) if isinstance(value, Mapping) else value

    @field_validator("fixed", "final", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        return dict(leaves(value)) if isinstance(value, Mapping) else value

    @field_validator("objective", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        return dict.fromkeys(names, "") if isinstance(names, list | tuple) else names

    @field_validator("sampler", "pruner", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        wrong = [f"space.{key}: {why}" for key, domain in self.space.items() if (why := _wrong(domain))]
        if not self.space:
            wrong.append("space is empty: there is nothing to search")
        if twice := sorted(self.space.keys() & self.fixed.keys()):
            wrong.append(f"{', '.join(twice)}: both searched and fixed")
        if not 1 <= len(self.objective) <= 2:
            wrong.append(f"objective: one metric or two, not {len(self.objective)}")
        if len(self.objective) > 1 and self.pruner.name != "none":
            wrong.append(f"pruner={self.pruner.name}: with two objectives no trial can be pruned")
        if wrong:
            raise ValueError("\n    ".join(wrong))
        return self


def _wrong(domain: AnyDomain) -> str:
    if isinstance(domain, Range):
        return domain.wrong()
    if isinstance(domain, Lists):
        short, long = domain.length
        if short > long:
            return f"length={short},{long}: the shortest comes first"
        return _wrong(domain.of)
    return "a choice is there twice" if len(set(map(repr, domain.choices))) < len(domain.choices) else ""


def _domains(space: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the domains of nested or dotted keys, each with its type."""
    for key, value in space.items():
        if isinstance(value, list | tuple):
            yield prefix + key, {"type": "categorical", "choices": value}
        elif isinstance(value, Mapping) and not _DOMAIN & value.keys():
            yield from _domains(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _typed(value)


def _typed(value: Any) -> Any:
    """Add the type to a domain, inferred from its bounds if it is not given."""
    if not isinstance(value, Mapping):
        return value
    domain = dict(value)
    if "type" not in domain:
        bounds = [domain.get("low"), domain.get("high"), domain.get("step", 1)]
        numbers = "int" if all(isinstance(bound, int) for bound in bounds) else "float"
        domain["type"] = "categorical" if "choices" in domain else "list" if "of" in domain else numbers
    if "of" in domain:
        domain["of"] = _typed(domain["of"])
    if isinstance(domain.get("length"), int):
        domain["length"] = (domain["length"], domain["length"])
    if isinstance(domain.get("when"), Mapping):
        domain["when"] = {key: one if isinstance(one, list | tuple) else [one] for key, one in leaves(domain["when"])}
    return domain
