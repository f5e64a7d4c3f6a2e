"""Plan a curriculum: the splits, and the training data of each phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from lhotse import CutSet

from asr_lab.config.schema import CurriculumExperiment
from asr_lab.data import columns
from asr_lab.data.curriculum import check_disjoint
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.metrics.catalog import Format
from asr_lab.recipes.curriculum.phases import training_data
from asr_lab.recipes.splits import Split, check_spoken
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import Table

GATES: dict[str, Format] = {"target_wer": "percent", "accept_wer": "percent"}
"""Formats of the columns of gates."""


@dataclass(frozen=True)
class CurriculumPlan:
    """The splits, and the training data of each phase."""

    config: CurriculumExperiment
    splits: dict[str, Split]
    training: dict[int, CutSet]
    warnings: list[str] = field(default_factory=list)

    @property
    def summary(self) -> Summary:
        """One row per phase, and the splits."""
        rows = [self._row(number, cuts) for number, cuts in self.training.items()]
        splits = {
            name: f"{len(split.cuts):6} utterances, {split.hours:.2f} h, digest {split.digest[:8]}"
            for name, split in self.splits.items()
        }
        return Summary(parts=[("", Table(frame=pd.DataFrame(rows), formats=GATES)), ("", splits)])

    def _row(self, number: int, cuts: CutSet) -> dict[str, Any]:
        phase = self.config.phase(number)
        return {
            "phase": number,
            "utterances": len(cuts),
            "hours": round(columns.seconds(cuts) / 3600, 2),
            "epochs": phase.epochs,
            "lr": phase.lr,
            "patience": phase.patience,
            "target_wer": phase.target,
            "accept_wer": phase.accept,
            "trains": "all layers" if phase.unfreeze else self.config.model.tune,
        }


def plan(config: CurriculumExperiment, store: ModelStore) -> CurriculumPlan:
    """Plan the phases; raises `AsrLabError` if a training speaker is in the validation or test data."""
    paths = {"train": config.data.train, "val": config.data.val, "test": config.data.test}
    splits = {name: Split.read(name, path) for name, path in paths.items() if path}
    check_disjoint({name: split.cuts for name, split in splits.items()})
    training = training_data(config, splits["train"].cuts)
    if config.data.phonemes:
        check_spoken(splits)
    held_out = {name: split.cuts for name, split in splits.items() if name != "train"}
    for number, cuts in training.items():
        if config.phase(number).train:  # otherwise a share of data.train
            check_disjoint({f"phase {number}": cuts, **held_out})
    return CurriculumPlan(config, splits, training)
