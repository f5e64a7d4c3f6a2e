"""A run, run again: from its own configuration, as its child, leaving registry and adapters as they are."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace

from rich.console import Console

from asr_lab.config.schema import (
    AdapterExperiment,
    ArmsExperiment,
    CurriculumExperiment,
    EvaluateExperiment,
    Experiment,
    PronunciationExperiment,
    TrainExperiment,
)
from asr_lab.errors import AsrLabError
from asr_lab.models import Loader
from asr_lab.recipes import pronunciation
from asr_lab.recipes.adapter import adapt
from asr_lab.recipes.evaluate import evaluate
from asr_lab.recipes.everyone import adapt_everyone, plans
from asr_lab.recipes.person import load_base, plan
from asr_lab.recipes.train import train
from asr_lab.training.recorder import REPRODUCE, ModelStore, Past, Recorder, RunSpec, Tracker


@dataclass(frozen=True)
class _AsChild:
    """Starts runs under the run that is repeated; what it registered is registered already."""

    tracker: Tracker
    parent: str

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        if spec.parent:  # a child of the repetition itself
            return self.tracker.start(replace(spec, registers=False, resumable=False), own=True)
        tags = {**spec.tags, "asr_lab.reproduces": self.parent}
        repeated = replace(spec, parent=self.parent, kind=REPRODUCE, tags=tags, registers=False, resumable=False)
        return self.tracker.start(repeated, own=True)

    def finished(self, spec: RunSpec) -> Past | None:
        """None: what is repeated is not taken from elsewhere."""
        return None


def again(
    config: Experiment,
    original: str,
    tracker: Tracker,
    store: ModelStore,
    load: Loader,
    console: Console,
) -> str:
    """Do what `config` says as a child of the run `original`; the id of the new run."""
    child = _AsChild(tracker, original)
    if isinstance(config, TrainExperiment):
        return train(config, child, console, store=store, own=True).run_id
    if isinstance(config, PronunciationExperiment):
        return pronunciation.train(config, child, console, store=store, own=True).run_id
    if isinstance(config, EvaluateExperiment):
        return evaluate(config, child, store, load, console).run_id
    if isinstance(config, CurriculumExperiment):
        raise AsrLabError(
            "a curriculum is reproduced phase by phase",
            where=original,
            next_command="asr-lab list --family curriculum --children",
        )
    if isinstance(config, ArmsExperiment):
        raise AsrLabError(
            "arms are reproduced one by one",
            where=original,
            allowed="the runs that it compared",
            next_command=f"asr-lab show {original[:8]}",
        )
    with tempfile.TemporaryDirectory() as folder:
        settings = config.adapter.model_copy(update={"save_dir": folder})
        return _adapted(config.model_copy(update={"adapter": settings}), child, store, load, console)


def _adapted(
    config: AdapterExperiment,
    tracker: Tracker,
    store: ModelStore,
    load: Loader,
    console: Console,
) -> str:
    base = load_base(config.adapter.base, store, load)
    if config.data.each:
        return adapt_everyone(config, plans(config, *base), tracker, console).run_id
    return adapt(plan(config, *base), tracker, console).run_id
