"""One person's utterances and the base they are heard by, read and checked before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from lhotse import CutSet
from lhotse.cut import Cut
from transformers import set_seed

from asr_lab.config.schema import AdapterExperiment
from asr_lab.data import manifest
from asr_lab.data.filtering import FilterResult
from asr_lab.data.leakage import same_utterances
from asr_lab.data.splits import draw, folds, hold_out_share
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore, RunSpec
from asr_lab.models import load_model
from asr_lab.models.adapter import MLPAdapter, check_name
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split, screened
from asr_lab.reports.summary import Summary

FEWEST = 4  # utterances of a person of whom some are held out


@dataclass(frozen=True)
class Fold:
    """What is learned from, and what is tested on."""

    train: CutSet
    test: CutSet


@dataclass(frozen=True)
class AdaptationPlan:
    """The person's data and the base, read and checked; nothing is spent yet."""

    config: AdapterExperiment
    base_uri: str
    recognizer: DeepSpeech2Recognizer
    splits: dict[str, Split]
    usable: FilterResult
    folds: list[Fold]
    """One, or several when cross-fitting; together they test each utterance once."""

    @property
    def training_cuts(self) -> CutSet:
        """What the adapter that is kept learns from."""
        data = self.config.data
        return draw(self.usable.cuts, data.learn_from, seed=self.config.run.seed)

    @property
    def warnings(self) -> list[str]:
        return self.usable.warnings("train")

    @property
    def summary(self) -> Summary:
        return Summary(title=f"{self.base_uri} + {self.adapter()}", parts=[("", [str(self)])])

    def __str__(self) -> str:
        tested = sum(len(fold.test) for fold in self.folds)
        turns = f", in {len(self.folds)} folds" if len(self.folds) > 1 else ""
        return f"{self.config.adapter.name}: learn from {len(self.training_cuts)} utterances, test on {tested}{turns}"

    def adapter(self) -> MLPAdapter:
        """A new adapter, its weights drawn from the run's seed."""
        set_seed(self.config.run.seed)
        settings, base = self.config.adapter, self.recognizer.model.config
        return MLPAdapter(
            base.rnn_output_size,
            settings.hidden_dims,
            base.vocab_size,
            dropout=settings.dropout,
            blank=self.recognizer.blank,
            residual=settings.form == "residual",
        )


def load_base(uri: str, store: ModelStore) -> tuple[str, DeepSpeech2Recognizer]:
    """(the pinned URI, the frozen recogniser).

    Raises `AsrLabError` when it is not a DeepSpeech2.
    """
    pinned = store.resolve_version(uri)
    recognizer = load_model(store.resolve(pinned), store.resolve)
    if not isinstance(recognizer, DeepSpeech2Recognizer):
        raise AsrLabError(
            f"a person's adapter is for a deepspeech2, this model is a {recognizer.model_type}",
            where=pinned,
            allowed="fine-tuning it to the person: asr-lab train with model.pretrained",
        )
    recognizer.model.freeze_base_model()
    return pinned, recognizer


def plan(
    config: AdapterExperiment,
    base_uri: str,
    recognizer: DeepSpeech2Recognizer,
    whole: Split | None = None,
    tested: Split | None = None,
) -> AdaptationPlan:
    """Read the person's utterances and check that they can be learned from and tested on.

    `whole` and `tested` are those of `data.train` and `data.test` where they are read already.
    """
    check_name(config.adapter.name)
    whole = whole or Split.read("train", config.data.train)
    _refuse_too_few(config, whole)
    _refuse_copies(config, whole)
    training_cuts, tested = _train_and_test(config, whole, tested)
    kept = screened(Split("train", config.data.train, training_cuts, ""), recognizer, float("inf"))
    pinned = config.adapter.model_copy(update={"base": base_uri})
    config = config.model_copy(update={"adapter": pinned})
    return AdaptationPlan(
        config, base_uri, recognizer, {"train": whole, "test": tested}, kept, _folds(config, kept, tested)
    )


def _refuse_too_few(config: AdapterExperiment, whole: Split) -> None:
    if not config.data.test and len(whole.cuts) < FEWEST:
        raise AsrLabError(
            f"{config.adapter.name} has {len(whole.cuts)} utterances: too few to learn from some and test on others",
            where=whole.path,
            allowed=f"at least {FEWEST}, or a manifest of its own to test on",
            next_command=f"asr-lab adapter --name {config.adapter.name} --data {whole.path} data.test=MANIFEST",
        )


def _refuse_copies(config: AdapterExperiment, whole: Split) -> None:
    """Utterances that hold the same recordings must not be parted by chance: a part would know the other."""
    by_chance = [] if config.data.test else ["what is tested on"]
    if config.adapter.form == "residual" and config.adapter.strength == "auto":
        by_chance.append("the half that the strength is chosen on")
    by_a_field = isinstance(config.data.cross_fit, str) and config.data.cross_fit
    if by_chance and not by_a_field and any(manifest.field(cut, "copy") for cut in whole.cuts):
        raise AsrLabError(
            f"utterances hold the same recordings (field 'copy'): {' and '.join(by_chance)} cannot be drawn",
            where=whole.path,
            allowed="data.cross_fit=block, or another field that parts them"
            + (", or adapter.strength=1.0" if config.data.test else ""),
        )


def _train_and_test(config: AdapterExperiment, whole: Split, tested: Split | None) -> tuple[CutSet, Split]:
    """(what may be learned from, what is tested on): a manifest of its own, each fold in turn, or a share held out."""
    data = config.data
    if data.cross_fit and data.test:
        raise AsrLabError("data.cross_fit tests on data.train itself", allowed="either data.cross_fit or data.test")
    if data.cross_fit:
        once = CutSet.from_cuts(cut for cut in whole.cuts if not manifest.field(cut, "copy"))
        return whole.cuts, Split("test", whole.path, once, manifest.digest(once))
    if data.test:
        tested = tested or Split.read("test", data.test)
        _refuse_overlap(whole.cuts, tested.cuts)
        return whole.cuts, tested
    rest, held_out = hold_out_share(whole.cuts, data.test_share, seed=config.run.seed)
    return rest, Split("test", whole.path, held_out, manifest.digest(held_out))


def _folds(config: AdapterExperiment, usable: FilterResult, tested: Split) -> list[Fold]:
    data, seed = config.data, config.run.seed
    if not data.cross_fit:
        return [Fold(draw(usable.cuts, data.learn_from, seed=seed), tested.cuts)]
    fold_of = folds(tested.cuts, data.cross_fit, seed=seed)
    also = folds(usable.cuts, data.cross_fit, seed=seed) if isinstance(data.cross_fit, str) else fold_of
    made = []
    for fold in sorted(set(fold_of.values())):
        others: list[Cut] = [cut for cut in usable.cuts if also[cut.id] != fold]
        held_out = CutSet.from_cuts(cut for cut in tested.cuts if fold_of[cut.id] == fold)
        if not others:
            raise AsrLabError(
                f"cross-fitting by {data.cross_fit!r} leaves nothing to learn from: there is only {fold!r}",
                where=tested.path,
                allowed="a field with two values at least, or a number of folds such as data.cross_fit=5",
            )
        made.append(Fold(draw(CutSet.from_cuts(others), data.learn_from, seed=seed), held_out))
    return made


def _refuse_overlap(train: CutSet, test: CutSet) -> None:
    shared = {cut.id for cut in train} & {cut.id for cut in test} | {*same_utterances(train, test)}
    if shared:
        raise AsrLabError(
            f"{len(shared)} utterances are both learned from and tested on, such as {sorted(shared)[0]!r}",
            allowed="data.train and data.test that share none",
        )


def run_spec(planned: AdaptationPlan, parent: str = "") -> RunSpec:
    """What the run of this plan is; `parent` is the run it belongs to."""
    config = planned.config
    return describe(
        config,
        family="adapter",
        kind="train",
        model_type="deepspeech2-adapter",
        name=config.run.name or config.adapter.name,
        data={name: split.digest for name, split in planned.splits.items()} | {"base": planned.base_uri},
        parent=parent,
        base=planned.base_uri,
        speaker=config.adapter.name,
        text=planned.recognizer.normalizer.name,
    )
