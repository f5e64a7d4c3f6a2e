"""Plan a comparison: the base model, the training of each variant, and warnings."""

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
"""Name of a variant -> its training; None: the untouched base."""


@dataclass(frozen=True)
class VariantPlan:
    """The plan of a variant, without its untrained model."""

    name: str
    text: str
    """Its text normaliser (`TextNormalizer.name`)."""
    config: RecognitionExperiment | None = None
    """Its resolved training; None: the untouched base."""
    num_params: int = 0
    num_trainable: int = 0
    leakage: Leakage = field(default_factory=Leakage)


@dataclass(frozen=True)
class ComparisonPlan:
    """The plan of a comparison."""

    config: ArmsExperiment
    start: str
    """The pinned base of all variants; "" from scratch."""
    experiments: Experiments
    variants: list[VariantPlan]
    splits: dict[str, Split]

    @property
    def warnings(self) -> list[str]:
        """Data leakage, and variants without a difference to the first."""
        return _by_variant(self.variants, Leakage.warnings) + _not_comparable(self.variants)

    @property
    def notes(self) -> list[str]:
        """The same for the run's description, without names of speakers."""
        return _by_variant(self.variants, Leakage.notes) + _not_comparable(self.variants)

    @property
    def summary(self) -> Summary:
        """One row per variant: base, trained parameters, epochs."""
        rows = []
        for one in self.variants:
            row: dict[str, Any] = {"method": one.name, "from": self.start or "scratch"}
            if one.config:
                row |= {"parameters": f"{one.num_params:,}", "trainable": f"{one.num_trainable:,}"}
                row |= {"epochs": one.config.train.epochs, "lr": one.config.train.lr}
            rows.append(row)
        return Summary(parts=[("", Table(frame=pd.DataFrame(rows).astype(object).fillna("-")))])


def plan_comparison(config: ArmsExperiment, store: ModelStore) -> ComparisonPlan:
    """Plan and check all variants before any training."""
    start = pinned_base(config, store)
    trained = experiments(config, start)
    variants = plans(trained, start, store)
    splits = {name: Split.read(name, config.manifests().get(name, "")) for name in ("train", "val", "test")}
    return ComparisonPlan(config, start, trained, variants, splits)


def pinned_base(config: ArmsExperiment, store: ModelStore) -> str:
    """Return the pinned URI of the base that all variants start from; "" from scratch."""
    base = config.model.pretrained
    return base if not base or on_hub(base) else store.resolve_version(base)


def experiments(config: ArmsExperiment, start: str) -> dict[str, Wav2Vec2Experiment | None]:
    """Return the training of each variant from the base `start`; None for the untouched base.

    Raise one `AsrLabError` for the errors of all variants.
    """
    shared = config.model_dump(exclude_unset=True, include={"run", "data", "augment", "model", "train"})
    shared = nest({"recipe": "wav2vec2", "model.pretrained": start}, shared)
    trainings: dict[str, Wav2Vec2Experiment | None] = {}
    wrong: list[str] = []
    for name, own in config.arms.items():
        try:
            untouched = own == UNTOUCHED
            trainings[name] = None if untouched else validate(Wav2Vec2Experiment, nest(own, shared), f"arms.{name}")
        except AsrLabError as error:
            wrong.append(f"arms.{name}: {error.what}")
    if wrong:
        raise AsrLabError("\n  ".join(wrong))
    return trainings


def plans(trainings: Experiments, start: str, store: ModelStore) -> list[VariantPlan]:
    """Plan each variant, with one model at a time in memory.

    Raise `AsrLabError` that names a variant which cannot be trained or cannot transcribe.
    """
    variants = []
    for name, experiment in trainings.items():
        try:
            variants.append(_plan(name, experiment, start, store))
        except AsrLabError as error:
            error.what = f"arms.{name}: {error.what}"
            raise
    return variants


def _plan(name: str, experiment: Wav2Vec2Experiment | None, start: str, store: ModelStore) -> VariantPlan:
    if experiment is None:
        return VariantPlan(name, _untouched(start, store).normalizer.name)
    made = plan(experiment, store)
    text = made.recognizer.normalizer.name
    return VariantPlan(name, text, made.config, made.num_params, made.num_trainable, made.leakage)


def _untouched(start: str, store: ModelStore) -> Recognizer:
    """Load the untouched base. Raise `AsrLabError` if it cannot transcribe: it has no head with a vocabulary."""
    try:
        if on_hub(start):
            raise AsrLabError("it comes from the hub")
        return load_model(store.resolve(start), store.resolve)
    except AsrLabError as error:
        raise AsrLabError(
            f"the untouched base cannot transcribe: {error.what}",
            where=start,
            allowed="a base that was trained here, or instead a variant that trains the head, {model.tune: head}",
        ) from error


def _by_variant(planned: Sequence[VariantPlan], lines: Callable[[Leakage], list[str]]) -> list[str]:
    """Return each line once, with the variants that it is about unless it is about all of them."""
    trained = [one for one in planned if one.config]
    names_of: dict[str, list[str]] = defaultdict(list)
    for one in trained:
        for line in lines(one.leakage):
            names_of[line].append(one.name)
    return [line if len(names) == len(trained) else f"{', '.join(names)}: {line}" for line, names in names_of.items()]


def _not_comparable(planned: Sequence[VariantPlan]) -> list[str]:
    first, *others = planned
    return [
        f"{one.name} gets no difference to {first.name}: its text normaliser is {one.text}, that of {first.name} "
        f"{first.text}, so their errors are not comparable"
        for one in others
        if one.text != first.text
    ]
