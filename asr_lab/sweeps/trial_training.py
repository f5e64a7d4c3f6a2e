"""Train the trials of each recipe, with state shared by the trials of one process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from asr_lab.config.schema import AdapterExperiment, Experiment
from asr_lab.families import family, find
from asr_lab.interfaces.tags import FROM_SWEEP
from asr_lab.interfaces.tracking import FinishedRun, ModelStore, Recorder, RunSpec, Tracker
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.adaptation.plan import AdaptationPlan, load_base, plan
from asr_lab.recipes.adaptation.train import adapt
from asr_lab.recipes.recipe import Outcome, recipe_of
from asr_lab.recipes.splits import Split
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.training.encoder_output_cache import EncoderOutputCache
from asr_lab.training.encoder_outputs import EncoderOutputs


class Training(Protocol):
    """Trains one experiment, recorded by the tracker."""

    def __call__(self, config: Experiment, tracker: Tracker) -> None: ...

    def prepare(self, some: Callable[[], Experiment], console: Console) -> dict[str, float]:
        """Compute what all trials share, once; return its cost as metrics. `some` draws an experiment of the space."""


class Trainings:
    """Trains the experiments of a sweep as their recipe does."""

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self.store = store

    def __call__(self, config: Experiment, tracker: Tracker) -> None:
        recipe_of(config).run(config, tracker, Console(quiet=True), store=self.store)

    def prepare(self, some: Callable[[], Experiment], console: Console) -> dict[str, float]:
        return {}


class Adapters:
    """Trains the adapters of a sweep: the base is loaded once per process, each utterance encoded once per machine."""

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self.store, self.folder = store, folder
        self._bases: dict[str, tuple[str, DeepSpeech2Recognizer, str]] = {}
        self._splits: dict[str, Split] = {}
        self._caches: dict[str, EncoderOutputCache] = {}

    def __call__(self, config: Experiment, tracker: Tracker) -> None:
        planned = self._plan(config)
        with tempfile.TemporaryDirectory() as temporary:  # a trial must not replace the speaker's own adapter file
            outputs = self._encode(planned, Console(quiet=True))
            adapt(planned, tracker, Console(quiet=True), outputs=outputs, folder=Path(temporary))

    def prepare(self, some: Callable[[], Experiment], console: Console) -> dict[str, float]:
        """The one pass of the base over the speaker's utterances."""
        use_threads(0)
        return {"perf/base_pass_seconds": self._encode(self._plan(some()), console).seconds}

    def _plan(self, config: Experiment) -> AdaptationPlan:
        assert isinstance(config, AdapterExperiment)
        uri, recognizer, _ = self._base(config.adapter.base)
        whole = self._split("train", config.data.train)
        tested = self._split("test", config.data.test) if config.data.test else None
        return plan(config, uri, recognizer, whole, tested)

    def _base(self, uri: str) -> tuple[str, DeepSpeech2Recognizer, str]:
        if uri not in self._bases:
            pinned, recognizer = load_base(uri, self.store)
            self._bases[uri] = pinned, recognizer, recognizer.base().digest
        return self._bases[uri]

    def _split(self, name: str, path: str) -> Split:
        if path not in self._splits:
            self._splits[path] = Split.read(name, path)
        return self._splits[path]

    def _encode(self, planned: AdaptationPlan, console: Console) -> EncoderOutputs:
        data = planned.config.data
        digests = [self._split("train", data.train).digest] + ([planned.splits["test"].digest] if data.test else [])
        key = "-".join([self._base(planned.base_uri)[2][:16], *digests])
        if key not in self._caches:
            self._caches[key] = EncoderOutputCache(self.folder, key)
        return self._caches[key].encode(planned.recognizer, planned.all_cuts, console, planned.config.train.num_workers)


def retrain(config: Experiment, tracker: Tracker, store: ModelStore, console: Console, *, parent: str) -> Outcome:
    """Train the best trial again as an ordinary run, tagged with its sweep."""
    return recipe_of(config).run(config, _From(tracker, parent), console, store=store)


@dataclass(frozen=True)
class _From:
    """Marks the runs that are started as coming from a sweep."""

    inner: Tracker
    sweep: str

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        return self.inner.start(replace(spec, tags={**spec.tags, FROM_SWEEP: self.sweep}), own=own)

    def finished(self, spec: RunSpec, *, own: bool = False) -> FinishedRun | None:
        return self.inner.finished(spec, own=own)


def training_of(recipe: str, store: ModelStore, folder: Path) -> Training:
    """Return the training of a recipe's trials; `folder` is for shared files."""
    training: Training = find(family(recipe).trials)(store, folder)
    return training
