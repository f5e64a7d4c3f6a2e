"""What a trial of each recipe runs, and what the trials of one process share."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console

from asr_lab.config.schema import AdapterExperiment, Experiment, PronunciationExperiment, TrainExperiment
from asr_lab.models import load_model
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes import person, pronunciation
from asr_lab.recipes.adapter import adapt, heard
from asr_lab.recipes.common import Split
from asr_lab.recipes.train import train
from asr_lab.training.frame_store import FrameStore
from asr_lab.training.frames import Frames
from asr_lab.training.recorder import ModelStore, Past, Recorder, RunSpec, Tracker


class Training(Protocol):
    """Trains one experiment, recorded by the tracker."""

    def __call__(self, config: Experiment, tracker: Tracker) -> None: ...


class Trainings:
    """Trains the recognisers, or the models of pronunciation assessment, of a sweep."""

    def __init__(self, store: ModelStore) -> None:
        self.store = store

    def __call__(self, config: Experiment, tracker: Tracker) -> None:
        if isinstance(config, PronunciationExperiment):
            pronunciation.train(config, tracker, Console(quiet=True), store=self.store)
            return
        assert isinstance(config, TrainExperiment)
        train(config, tracker, Console(quiet=True), store=self.store)


class Adapters:
    """Trains the adapters of a sweep: their base is loaded once a process, and hears each utterance once a machine."""

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self.store, self.folder = store, folder
        self._bases: dict[str, tuple[str, DeepSpeech2Recognizer, str]] = {}
        self._splits: dict[str, Split] = {}
        self._frames: dict[str, FrameStore] = {}

    def __call__(self, config: Experiment, tracker: Tracker) -> None:
        planned = self._plan(config)
        with tempfile.TemporaryDirectory() as aside:  # the person's own file is not a trial's to replace
            frames = self._hear(planned, Console(quiet=True))
            adapt(planned, tracker, Console(quiet=True), frames=frames, folder=Path(aside))

    def hear(self, config: Experiment, console: Console) -> Frames:
        """The one pass of the base, before the first trial."""
        return self._hear(self._plan(config), console)

    def _plan(self, config: Experiment) -> person.Plan:
        assert isinstance(config, AdapterExperiment)
        uri, recognizer, _ = self._base(config.adapter.base)
        whole = self._split("train", config.data.train)
        tested = self._split("test", config.data.test) if config.data.test else None
        return person.plan(config, uri, recognizer, whole, tested)

    def _base(self, uri: str) -> tuple[str, DeepSpeech2Recognizer, str]:
        if uri not in self._bases:
            pinned, recognizer = person.load_base(uri, self.store, load_model)
            self._bases[uri] = pinned, recognizer, recognizer.base().digest
        return self._bases[uri]

    def _split(self, name: str, path: str) -> Split:
        if path not in self._splits:
            self._splits[path] = Split.read(name, path)
        return self._splits[path]

    def _hear(self, planned: person.Plan, console: Console) -> Frames:
        data = planned.config.data
        digests = [self._split("train", data.train).digest] + ([planned.splits["test"].digest] if data.test else [])
        key = "-".join([self._base(planned.base_uri)[2][:16], *digests])
        if key not in self._frames:
            self._frames[key] = FrameStore(self.folder, key)
        return self._frames[key].frames(planned.recognizer, heard(planned), console, planned.config.train.num_workers)


def retrain(config: Experiment, tracker: Tracker, store: ModelStore, console: Console, *, parent: str) -> None:
    """Train the best one as any other experiment, a run of its own that says which sweep it comes from."""
    if isinstance(config, AdapterExperiment):
        planned = person.plan(config, *person.load_base(config.adapter.base, store, load_model))
        adapted = adapt(planned, _From(tracker, parent), console)
        for label, text in adapted.rows().items():
            console.print(f"  {label:16} {text}")
        return
    if isinstance(config, PronunciationExperiment):
        assessed = pronunciation.train(config, _From(tracker, parent), console, store=store)
        console.print(f"[bold]{assessed.run_name}[/]: {assessed.model_uri}")
        return
    assert isinstance(config, TrainExperiment)
    done = train(config, _From(tracker, parent), console, store=store)
    console.print(f"[bold]{done.run_name}[/]: val/wer {done.val_wer:.1%}; {done.model_uri}")


@dataclass(frozen=True)
class _From:
    """Marks the runs that are started as coming from a sweep."""

    inner: Tracker
    sweep: str

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        return self.inner.start(replace(spec, tags={**spec.tags, "asr_lab.from_sweep": self.sweep}), own=own)

    def finished(self, spec: RunSpec) -> Past | None:
        return self.inner.finished(spec)


def training_of(recipe: str, store: ModelStore, folder: Path) -> Training:
    """What trains the trials of a recipe; `folder` is for what they share on disk."""
    return Adapters(store, folder) if recipe == "adapter" else Trainings(store)
