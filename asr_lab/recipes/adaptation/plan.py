"""Plan an adaptation: read and check the utterances of one speaker and the base model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.config.schema import AdapterExperiment
from asr_lab.data import manifest
from asr_lab.data.filtering import FilterResult
from asr_lab.data.leakage import same_utterances
from asr_lab.data.splits import draw, folds, hold_out_share
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore, RunSpec
from asr_lab.metrics.spacing import SCORER
from asr_lab.models import load_model
from asr_lab.models.adapter import check_name
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.adaptation.fit import Fold, new_adapter
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split, filter_split, refuse_two_readings
from asr_lab.recipes.training_overlap import Overlap
from asr_lab.reports.summary import Summary
from asr_lab.units import counted

FEWEST = 4  # utterances of a speaker if some of them are held out


@dataclass(frozen=True)
class AdaptationPlan:
    """The data of a speaker and the base model, read and checked."""

    config: AdapterExperiment
    base_uri: str
    recognizer: DeepSpeech2Recognizer
    splits: dict[str, Split]
    usable: FilterResult
    folds: list[Fold]
    """One fold, or several with cross-fitting, which together test each utterance once."""
    spec: RunSpec
    overlap: Overlap = field(default_factory=Overlap)
    """What of the tested utterances the base was trained on."""

    @property
    def training_cuts(self) -> CutSet:
        """Training data of the adapter that is saved."""
        data = self.config.data
        return draw(self.usable.cuts, data.learn_from, seed=self.config.run.seed)

    @property
    def all_cuts(self) -> CutSet:
        """Every utterance that is trained or tested on, once."""
        cuts: list[Cut] = [*self.usable.cuts, *(cut for fold in self.folds for cut in fold.test)]
        return CutSet.from_cuts({cut.id: cut for cut in cuts}.values())

    @property
    def warnings(self) -> list[str]:
        return self.usable.warnings("train")

    @property
    def summary(self) -> Summary:
        adapter = new_adapter(self.recognizer, self.config.adapter, self.config.run.seed)
        widths = "-".join(map(str, (adapter.input_dim, *adapter.hidden_dims, adapter.output_dim)))
        size = f"{sum(weight.numel() for weight in adapter.parameters()):,} parameters"
        return Summary(title=f"{self.base_uri} + adapter {widths}, {size}", parts=[("", [str(self)])])

    def __str__(self) -> str:
        tested = sum(len(fold.test) for fold in self.folds)
        turns = f", in {len(self.folds)} folds" if len(self.folds) > 1 else ""
        return (
            f"{self.config.adapter.name}: learn from {counted(len(self.training_cuts), 'utterance')}, "
            f"test on {tested}{turns}"
        )


def load_base(uri: str, store: ModelStore) -> tuple[str, DeepSpeech2Recognizer]:
    """Return (pinned URI, frozen recogniser). Raise `AsrLabError` if it is not a DeepSpeech2."""
    pinned = store.resolve_version(uri)
    recognizer = load_model(store.resolve(pinned), store.resolve)
    if not isinstance(recognizer, DeepSpeech2Recognizer):
        raise AsrLabError(
            f"adapters need a deepspeech2, this model is a {recognizer.model_type}",
            where=pinned,
            allowed="fine-tuning it to the speaker: asr-lab train with model.pretrained",
        )
    recognizer.model.freeze_base_model()
    return pinned, recognizer


def plan(
    config: AdapterExperiment,
    base_uri: str,
    recognizer: DeepSpeech2Recognizer,
    train: Split | None = None,
    tested: Split | None = None,
) -> AdaptationPlan:
    """Read the utterances of a speaker and check that they can be trained and tested on.

    `train` and `tested` are the splits of `data.train` and `data.test` if they have been read before.
    """
    check_name(config.adapter.name)
    train = train or Split.read("train", config.data.train)
    _check_count(config, train)
    _check_copies(config, train)
    training_cuts, tested = _train_and_test(config, train, tested)
    usable = filter_split(Split("train", config.data.train, training_cuts, ""), recognizer, float("inf"))
    refuse_two_readings(tested, recognizer)
    pinned = config.adapter.model_copy(update={"base": base_uri})
    config = config.model_copy(update={"adapter": pinned})
    splits = {"train": train, "test": tested}
    spec = _run_spec(config, splits, recognizer.normalizer.name)
    return AdaptationPlan(config, base_uri, recognizer, splits, usable, _folds(config, usable, tested), spec)


def _check_count(config: AdapterExperiment, train: Split) -> None:
    if not config.data.test and len(train.cuts) < FEWEST:
        raise AsrLabError(
            f"{config.adapter.name} has {counted(len(train.cuts), 'utterance')}: too few to train on some "
            "and test on others",
            where=train.path,
            allowed=f"at least {FEWEST}, or a manifest of its own to test on",
            next_command=f"asr-lab adapter --name {config.adapter.name} --data {shlex.quote(train.path)} data.test=...",
        )


def _check_copies(config: AdapterExperiment, train: Split) -> None:
    """Raise `AsrLabError` if a random split would separate utterances that contain the same recordings."""
    by_chance = [] if config.data.test else ["the test data"]
    if config.adapter.form == "residual" and config.adapter.strength == "auto":
        by_chance.append("the half on which the scale is chosen")
    by_a_field = isinstance(config.data.cross_fit, str) and config.data.cross_fit
    if by_chance and not by_a_field and any(manifest.field(cut, "copy") for cut in train.cuts):
        raise AsrLabError(
            f"utterances hold the same recordings (field 'copy'): {' and '.join(by_chance)} cannot be drawn",
            where=train.path,
            allowed="data.cross_fit=block, or another field that separates them"
            + (", or adapter.strength=1.0" if config.data.test else ""),
        )


def _train_and_test(config: AdapterExperiment, train: Split, tested: Split | None) -> tuple[CutSet, Split]:
    """Return (training data, test data): two manifests, all of one for cross-fitting, or one with a share held out."""
    data = config.data
    if data.cross_fit and data.test:
        raise AsrLabError("data.cross_fit tests on data.train itself", allowed="either data.cross_fit or data.test")
    if data.cross_fit:
        once = CutSet.from_cuts(cut for cut in train.cuts if not manifest.field(cut, "copy"))
        return train.cuts, Split("test", train.path, once, manifest.digest(once))
    if data.test:
        tested = tested or Split.read("test", data.test)
        _check_overlap(train.cuts, tested.cuts)
        return train.cuts, tested
    rest, held_out = hold_out_share(train.cuts, data.test_share, seed=config.run.seed)
    return rest, Split("test", train.path, held_out, manifest.digest(held_out))


def _folds(config: AdapterExperiment, usable: FilterResult, tested: Split) -> list[Fold]:
    data, seed = config.data, config.run.seed
    if not data.cross_fit:
        return [Fold(draw(usable.cuts, data.learn_from, seed=seed), tested.cuts)]
    fold_of = folds(tested.cuts, data.cross_fit, seed=seed)
    training_fold_of = folds(usable.cuts, data.cross_fit, seed=seed) if isinstance(data.cross_fit, str) else fold_of
    made = []
    for fold in sorted(set(fold_of.values())):
        others: list[Cut] = [cut for cut in usable.cuts if training_fold_of[cut.id] != fold]
        held_out = CutSet.from_cuts(cut for cut in tested.cuts if fold_of[cut.id] == fold)
        if not others:
            raise AsrLabError(
                f"cross-fitting by {data.cross_fit!r} leaves nothing to learn from: there is only {fold!r}",
                where=tested.path,
                allowed="a field with two values at least, or a number of folds such as data.cross_fit=5",
            )
        made.append(Fold(draw(CutSet.from_cuts(others), data.learn_from, seed=seed), held_out))
    return made


def _check_overlap(train: CutSet, test: CutSet) -> None:
    shared = {cut.id for cut in train} & {cut.id for cut in test} | {*same_utterances(train, test)}
    if shared:
        raise AsrLabError(
            f"{counted(len(shared), 'utterance', 'are')} both trained and tested on, such as {min(shared)!r}",
            allowed="data.train and data.test that share none",
        )


def _run_spec(config: AdapterExperiment, splits: Mapping[str, Split], text: str) -> RunSpec:
    return describe(
        config,
        family="adapter",
        kind="train",
        model_type="deepspeech2-adapter",
        name=config.run.name or config.adapter.name,
        data={name: split.digest for name, split in splits.items()} | {"base": config.adapter.base},
        base=config.adapter.base,
        speaker=config.adapter.name,
        text=text,
        scorer=SCORER,
    )
