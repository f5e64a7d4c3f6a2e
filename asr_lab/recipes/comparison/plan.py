"""The arms of a comparison before anything is spent: their base, what each trains, what is to be said of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from asr_lab.config.dotted import nest
from asr_lab.config.load import validate
from asr_lab.config.schema import UNTOUCHED, ArmsExperiment, RecognitionExperiment, Wav2Vec2Experiment
from asr_lab.data.leakage import Leakage
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models import load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.models.wav2vec2.bases import on_hub
from asr_lab.recipes.recognition.plan import plan
from asr_lab.recipes.splits import Split
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import Table

Experiments = Mapping[str, Wav2Vec2Experiment | None]
"""Name of an arm -> what it trains; None: the base as it is."""


@dataclass(frozen=True)
class VariantPlan:
    """What is known of an arm; its untrained model is not kept."""

    name: str
    text: str
    """Its text normaliser (`TextNormalizer.name`)."""
    config: RecognitionExperiment | None = None
    """What it trains, as it really is; None: the base as it is."""
    num_params: int = 0
    num_trainable: int = 0
    sharing: Leakage = field(default_factory=Leakage)


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison before anything is spent."""

    config: ArmsExperiment
    start: str
    """The pinned base that all start from; "" from scratch."""
    experiments: Experiments
    variants: list[VariantPlan]
    splits: dict[str, Split]

    @property
    def warnings(self) -> list[str]:
        """What data share, and which have no difference to the first."""
        return _shared(self.variants, Leakage.warnings) + _unlike(self.variants)

    @property
    def notes(self) -> list[str]:
        """The same for the run's description, which names nobody."""
        return _shared(self.variants, Leakage.notes) + _unlike(self.variants)

    @property
    def summary(self) -> Summary:
        """A row each: where it starts, how much of it learns, and how long."""
        rows = []
        for one in self.variants:
            row: dict[str, Any] = {"arm": one.name, "from": self.start or "scratch"}
            if one.config:
                row |= {"parameters": f"{one.num_params:,}", "that learn": f"{one.num_trainable:,}"}
                row |= {"epochs": one.config.train.epochs, "lr": one.config.train.lr}
            rows.append(row)
        return Summary(parts=[("", Table(frame=pd.DataFrame(rows).astype(object).fillna("-")))])


def plan_comparison(config: ArmsExperiment, store: ModelStore) -> ComparisonPlan:
    """Everything that is compared, checked before anything is spent."""
    start = pinned_base(config, store)
    trained = experiments(config, start)
    variants = plans(trained, start, store)
    splits = {name: Split.read(name, config.manifests().get(name, "")) for name in ("train", "val", "test")}
    return ComparisonPlan(config, start, trained, variants, splits)


def pinned_base(config: ArmsExperiment, store: ModelStore) -> str:
    """The one base that all arms start from, under a URI that means it for ever; "" from scratch."""
    base = config.model.pretrained
    return base if not base or on_hub(base) else store.resolve_version(base)


def experiments(config: ArmsExperiment, start: str) -> dict[str, Wav2Vec2Experiment | None]:
    """What each arm trains, from the base `start`; None where it is that base itself.

    Raises one `AsrLabError` for all that is wrong in all arms.
    """
    shared = config.model_dump(exclude_unset=True, include={"run", "data", "augment", "model", "train"})
    shared = nest({"recipe": "wav2vec2", "model.pretrained": start}, shared)
    found: dict[str, Wav2Vec2Experiment | None] = {}
    wrong: list[str] = []
    for name, own in config.arms.items():
        try:
            as_it_is = own == UNTOUCHED
            found[name] = None if as_it_is else validate(Wav2Vec2Experiment, nest(own, shared), f"arms.{name}")
        except AsrLabError as error:
            wrong.append(f"arms.{name}: {error.what}")
    if wrong:
        raise AsrLabError("\n  ".join(wrong))
    return found


def plans(arms: Experiments, start: str, store: ModelStore) -> list[VariantPlan]:
    """Each arm as it will be; one model at a time is in memory.

    Raises `AsrLabError` that names the arm which cannot be trained, or which cannot recognise.
    """
    found = []
    for name, experiment in arms.items():
        try:
            found.append(_plan(name, experiment, start, store))
        except AsrLabError as error:
            more = {key: getattr(error, key) for key in ("where", "allowed", "next_command", "hint")}
            raise AsrLabError(f"arms.{name}: {error.what}", **more) from error
    return found


def _plan(name: str, experiment: Wav2Vec2Experiment | None, start: str, store: ModelStore) -> VariantPlan:
    if experiment is None:
        return VariantPlan(name, _untouched(start, store).normalizer.name)
    made = plan(experiment, store)
    text = made.recognizer.normalizer.name
    return VariantPlan(name, text, made.config, made.num_params, made.num_trainable, made.sharing)


def _untouched(start: str, store: ModelStore) -> Recognizer:
    """The base as it is; raises `AsrLabError` when it cannot recognise: it has no head with a vocabulary."""
    try:
        if on_hub(start):
            raise AsrLabError("it comes from the hub")
        return load_model(store.resolve(start), store.resolve)
    except AsrLabError as error:
        raise AsrLabError(
            f"the untouched base cannot recognise: {error.what}",
            where=start,
            allowed="a base that was trained here, or in its place an arm whose head learns, {model.tune: head}",
        ) from error


def _shared(planned: Sequence[VariantPlan], told: Callable[[Leakage], list[str]]) -> list[str]:
    """Each line once, with the arms that it is about where they have data of their own."""
    trained = [one for one in planned if one.config]
    arms: dict[str, list[str]] = defaultdict(list)
    for one in trained:
        for line in told(one.sharing):
            arms[line].append(one.name)
    return [line if len(names) == len(trained) else f"{', '.join(names)}: {line}" for line, names in arms.items()]


def _unlike(planned: Sequence[VariantPlan]) -> list[str]:
    first, *others = planned
    return [
        f"{one.name} gets no difference to {first.name}: its text normaliser is {one.text}, that of {first.name} "
        f"{first.text}, so their errors are counted in other texts"
        for one in others
        if one.text != first.text
    ]
