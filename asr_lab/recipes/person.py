"""One person's utterances and the base they are heard by, read and checked before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet
from transformers import set_seed

from asr_lab.config.schema import AdapterExperiment
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
    recognizer = load(store.resolve(base_uri))
    recognizer.model.freeze_base_model()
    if config.data.cross_fit and config.data.test:
        raise AsrLabError("data.cross_fit tests on data.train itself", allowed="either data.cross_fit or data.test")
    pinned = config.adapter.model_copy(update={"base": base_uri})
    config = config.model_copy(update={"adapter": pinned})
    splits = {"train": Split.read("train", config.data.train)}
    if config.data.test:
        splits["test"] = Split.read("test", config.data.test)
    kept = screen(
        splits["train"].cuts,
        recognizer.normalizer,
        recognizer.encode_text,
        recognizer.vocabulary,
        float("inf"),
        where=config.data.train,
    )
    train, test = kept.cuts, splits["test"].cuts if "test" in splits else None
    if test is None and not config.data.cross_fit:
        train, test = hold_out_share(train, config.data.test_share, seed=config.run.seed)
    if test is not None:
        _refuse_overlap(train, test)
    return Plan(config, base_uri, recognizer, splits, train, test, kept.warnings("train"))


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
