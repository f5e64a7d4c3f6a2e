"""One person's utterances and the base they are heard by, read and checked before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet
from transformers import set_seed

from asr_lab.config.schema import AdapterExperiment
from asr_lab.data import manifest
from asr_lab.data.screen import screen
from asr_lab.data.splits import hold_out_share
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import MLPAdapter, check_name
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.common import Split, describe
from asr_lab.training.recorder import ModelStore, RunSpec


@dataclass(frozen=True)
class Plan:
    """The person's data and the base, read and checked; nothing is spent yet."""

    config: AdapterExperiment
    base_uri: str
    recognizer: Recognizer
    splits: dict[str, Split]
    train: CutSet
    test: CutSet | None
    warnings: list[str]

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
        )


def plan(config: AdapterExperiment, store: ModelStore, load: Callable[[Path], Recognizer]) -> Plan:
    """Read the base (`load` turns its folder into a recogniser) and the person's utterances; check both."""
    check_name(config.adapter.name)
    base_uri = store.pin(config.adapter.base)
    pinned = config.adapter.model_copy(update={"base": base_uri})
    config = config.model_copy(update={"adapter": pinned})
    recognizer = load(store.resolve(base_uri))
    recognizer.model.freeze_base_model()
    whole = Split.read("train", config.data.train)
    rest, tested = _apart(config, whole)
    kept = screen(
        rest,
        recognizer.normalizer,
        recognizer.encode_text,
        recognizer.vocabulary,
        float("inf"),
        where=config.data.train,
    )
    test = None if config.data.cross_fit else tested.cuts
    return Plan(config, base_uri, recognizer, {"train": whole, "test": tested}, kept.cuts, test, kept.warnings("train"))


def _apart(config: AdapterExperiment, whole: Split) -> tuple[CutSet, Split]:
    """(what may be learned from, what is tested on): a manifest of its own, each fold in turn, or a share held out."""
    data = config.data
    if data.cross_fit and data.test:
        raise AsrLabError("data.cross_fit tests on data.train itself", allowed="either data.cross_fit or data.test")
    if data.cross_fit:
        once = CutSet.from_cuts(cut for cut in whole.cuts if not manifest.field(cut, "copy"))
        return whole.cuts, Split("test", whole.path, once, manifest.digest(once))
    if data.test:
        tested = Split.read("test", data.test)
        _refuse_overlap(whole.cuts, tested.cuts)
        return whole.cuts, tested
    rest, held_out = hold_out_share(whole.cuts, data.test_share, seed=config.run.seed)
    return rest, Split("test", whole.path, held_out, manifest.digest(held_out))


def _refuse_overlap(train: CutSet, test: CutSet) -> None:
    shared = {cut.id for cut in train} & {cut.id for cut in test}
    if shared:
        raise AsrLabError(
            f"{len(shared)} utterances are both learned from and tested on, such as {sorted(shared)[0]!r}",
            allowed="data.train and data.test that share none",
        )


def run_spec(planned: Plan) -> RunSpec:
    """What the run of this plan is."""
    config = planned.config
    return describe(
        config,
        family="adapter",
        kind="train",
        model_type="deepspeech2-adapter",
        name=config.run.name or config.adapter.name,
        data={name: split.digest for name, split in planned.splits.items()} | {"base": planned.base_uri},
        base=planned.base_uri,
        speaker=config.adapter.name,
        text=planned.recognizer.normalizer.name,
    )
