"""Score a recogniser, with or without a person's adapter, on a manifest."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from rich.console import Console
from rich.progress import Progress

from asr_lab.config.schema import Adapter, EvaluateExperiment, Evaluation
from asr_lab.data import manifest
from asr_lab.data.phonemes import check_languages
from asr_lab.errors import AsrLabError
from asr_lab.metrics.significance import Interval
from asr_lab.models import Loader
from asr_lab.models.adapter import AdapterManager, weights_digest
from asr_lab.models.pronunciation.assessor import Assessor
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.common import Split, describe, embedded, record_predictions, record_scores, refuse_too_short, score
from asr_lab.recipes.evaluate_pronunciation import AssessedData, evaluate_pronunciation
from asr_lab.system.resources import Clock
from asr_lab.system.threads import use_threads
from asr_lab.training.recorder import ModelStore, Tracker

_OF_A_STORE = ("models:/", "runs:/")
CHAMPION = str(Adapter.model_fields["base"].default)


@dataclass(frozen=True)
class Evaluated:
    """The figures of one evaluation."""

    run_id: str
    run_name: str
    wer: Interval
    table: pd.DataFrame
    """A row an utterance (`recipes.common.score`)."""
    seconds: float


def with_adapter(store: ModelStore, load: Loader, model: str, adapter: str, folder: str) -> tuple[Recognizer, str]:
    """The recogniser, carrying the adapter if one is named, and its pinned URI.

    Without a `model` it is the base that the adapter's file names, else the champion.
    """
    manager = AdapterManager(folder)
    adapter = adapter_file(store, adapter)
    info = manager.get_adapter_info(adapter) if adapter else None
    uri = store.pin(model or (info.base if info else "") or CHAMPION)
    recognizer = load(store.resolve(uri), store.resolve)
    if adapter:
        recognizer.carry(manager, adapter, uri)
    return recognizer, uri


def adapter_file(store: ModelStore, adapter: str) -> str:
    """An adapter's name or file as it is; one in the registry (`models:/...`) as its file."""
    return str(store.adapter_file(adapter)) if adapter.startswith(_OF_A_STORE) else adapter


def _whose(settings: Evaluation, store: ModelStore) -> dict[str, str]:
    """The adapter's person, the digest of its file, and its version in the registry; empty for the base alone."""
    if not settings.adapter:
        return {}
    manager, adapter = AdapterManager(settings.adapter_dir), adapter_file(store, settings.adapter)
    info = manager.get_adapter_info(adapter)
    pinned = {"adapter_uri": store.pin(settings.adapter)} if settings.adapter.startswith(_OF_A_STORE) else {}
    return {"speaker": info.adapter_name, "adapter": manifest.file_digest(manager.find(adapter))} | pinned


def evaluate(
    config: EvaluateExperiment,
    tracker: Tracker,
    store: ModelStore,
    load: Loader,
    console: Console,
) -> Evaluated | AssessedData:
    """WER with interval and CER of the manifest, its table and page, recorded as a run of kind `evaluate`.

    What kind of model it is, its folder says: one of pronunciation is assessed instead.
    """
    clock, settings = Clock(), config.evaluate
    use_threads(config.run.threads)
    split = Split.read(settings.split, settings.data)
    if settings.phonemes:
        check_languages(split.cuts, settings.data)
    recognizer, uri = with_adapter(store, load, settings.model, settings.adapter, settings.adapter_dir)
    refuse_too_short(split, recognizer)
    if isinstance(recognizer, Assessor):
        return evaluate_pronunciation(config, split, recognizer, uri, tracker, console)
    if settings.learners:
        raise AsrLabError("learners' pages are made by models of pronunciation", where=uri)
    whose = _whose(settings, store)
    spec = describe(
        config,
        family="evaluate",
        kind="evaluate",
        model_type=f"{recognizer.model_type}-adapter" if settings.adapter else recognizer.model_type,
        name=config.run.name or f"evaluate-{whose.get('speaker', 'base')}",
        data={settings.split: split.digest, "base": uri, "adapter": whose.get("adapter", "")},
        base=uri,
        base_digest=weights_digest(recognizer.model),
        text=recognizer.normalizer.name,
        **whose,
    )
    with tracker.start(spec) as run:
        run.dataset(split.dataset())
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("recognising", total=len(split.cuts))
            hypotheses = recognizer.hypotheses(split.cuts, settings.batch_size, lambda done: bar.advance(task, done))
        seconds = clock.seconds
        table = score(split.cuts, hypotheses, recognizer.normalizer, in_phonemes=settings.phonemes)
        voices, note = embedded(split.cuts) if settings.audio else ({}, "")
        title = f"{run.name} on {settings.data}"
        interval = record_scores(run, table, settings.split, title, audio=voices, note=note)
        if settings.save_predictions:
            record_predictions(run, table, settings.split)
        speech = sum(cut.duration for cut in split.cuts)
        run.metrics(
            {
                "perf/seconds": clock.seconds,
                "perf/real_time_factor": seconds / speech,
                **clock.peak_memory(),
            }
        )
        return Evaluated(run.run_id, run.name, interval, table, clock.seconds)
