"""Score a recogniser, with or without an adapter, on a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pandas as pd
from rich.progress import Progress

from asr_lab.config import schema
from asr_lab.config.names import model_uri
from asr_lab.config.schema import Adapter, EvaluateExperiment
from asr_lab.data import columns, manifest
from asr_lab.data.phonemes import check_languages
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.families import family, find
from asr_lab.interfaces.tracking import ModelStore, RunSpec, Tracker
from asr_lab.metrics import error_rates, spacing
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.slices import slices
from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager, weights_digest
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decode_choice import register_weights
from asr_lab.recipes.decoding import Decoded, Decoding, decode, decoding_notes, prepare, record_decoding
from asr_lab.recipes.decoding_parts import merged, rows_of
from asr_lab.recipes.parts import Part, Parts, Row, rows_of_parts, write_part
from asr_lab.recipes.recipe import Outcome, Recipe
from asr_lab.recipes.recognition.scoring import embedded, record_predictions, record_scores, score
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split, refuse_too_short
from asr_lab.recipes.training_overlap import Overlap
from asr_lab.recipes.training_overlap import overlap as overlap_with
from asr_lab.recipes.weight_search import errors_by_weights, tuned
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.summary import Summary, interval_text
from asr_lab.reports.table import Table
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads

_MOST_VALUES = 20  # of a slice that is printed
_OF_A_STORE = ("models:/", "runs:/")
CHAMPION = str(Adapter.model_fields["base"].default)


class Evaluation(Outcome, Protocol):
    """The result of an evaluation."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per utterance: `id` and error counts."""


@dataclass(frozen=True)
class EvaluatedRecognition:
    """The result of evaluating a speech recogniser."""

    run_id: str
    run_name: str
    wer: Interval
    table: pd.DataFrame
    """One row per utterance (`recipes.recognition.scoring.score`)."""
    split: str
    seconds: float
    notes: Sequence[str] = ()
    next_commands: Sequence[str] = ()

    @property
    def summary(self) -> Summary:
        """Error rates, also of slices with few values."""
        table = spacing.without_spaces(self.table)
        rows = {
            f"{self.split}/wer": f"{self.wer.value:.1%}, {interval_text(self.wer.low, self.wer.high)}",
            f"{self.split}/cer": f"{error_rates.cer(self.table):.1%}",
            "without spaces": f"wer {spacing.wer_no_space(table):.1%}, cer {spacing.cer_no_space(table):.1%}",
        }
        if "phonemes" in self.table:
            rows[f"{self.split}/per"] = f"{error_rates.per(self.table):.1%}"
        rows["utterances"] = f"{len(self.table)}, {self.seconds:.1f} s"
        by_slice = slices(self.table)
        short = by_slice[by_slice.groupby("slice")["value"].transform("size") <= _MOST_VALUES]
        columns = short[["slice", "value", "utterances", "wer", "low", "high", "cer"]]
        shown = Table(frame=columns, formats={"low": "percent", "high": "percent"})
        page = {"page": f"eval/{self.split}.html of the run"}
        return Summary(
            title=self.run_name,
            parts=[("", rows), ("", shown), ("", page)],
            notes=self.notes,
            next_commands=self.next_commands,
        )


def with_adapter(store: ModelStore, model: str, adapter: str, folder: str) -> tuple[Recognizer, str]:
    """Return the recogniser, with the adapter if one is given, and its pinned URI.

    Without `model`, the base named in the adapter file is used, else the champion.
    """
    manager = AdapterManager(folder)
    adapter = adapter_file(store, adapter)
    info = manager.get_adapter_info(adapter) if adapter else None
    uri = store.resolve_version(model or (info.base if info else "") or CHAMPION)
    recognizer = load_model(store.resolve(uri), store.resolve)
    if adapter:
        recognizer.attach_adapter(manager, adapter, uri)
    return recognizer, uri


def adapter_file(store: ModelStore, adapter: str) -> str:
    """Return the local file of a registered adapter (`models:/...`), and a name or file unchanged."""
    return str(store.adapter_file(adapter)) if adapter.startswith(_OF_A_STORE) else adapter


def _adapter_tags(settings: schema.Evaluation, store: ModelStore) -> dict[str, str]:
    """Return tags for the speaker, file digest and registry version of the adapter; empty without one."""
    if not settings.adapter:
        return {}
    manager, adapter = AdapterManager(settings.adapter_dir), adapter_file(store, settings.adapter)
    info = manager.get_adapter_info(adapter)
    pinned = (
        {"adapter_uri": store.resolve_version(settings.adapter)} if settings.adapter.startswith(_OF_A_STORE) else {}
    )
    return {"speaker": info.adapter_name, "adapter": manifest.file_digest(manager.find(adapter))} | pinned


@dataclass(frozen=True)
class EvaluationPlan:
    """The plan of an evaluation: data and recogniser, checked."""

    config: EvaluateExperiment
    split: Split
    recognizer: Recognizer
    uri: str
    """Pinned URI of the model."""
    decoding: Decoding
    overlap: Overlap = field(default_factory=Overlap)
    """What of the data the model, its base or the adapter was trained on."""
    warnings: list[str] = field(default_factory=list)
    parts: Parts | None = None
    """Has parts of the data computed elsewhere."""

    def rows_of_parts(self, config: EvaluateExperiment, decoding: Decoding) -> Iterator[Row]:
        """Have the parts made with this configuration, and yield their rows.

        That comes before the run: where another process waits for the same, or a job fails, none is begun.
        """
        assert self.parts is not None
        pinned = config.model_copy(
            update={
                "evaluate": config.evaluate.model_copy(update={"model": self.uri}),
                "decode": decoding.settings.model_copy(update={"lm": decoding.lm_uri}),
            }
        )
        return rows_of_parts(self.parts, pinned, self.split, self.recognizer)

    @property
    def summary(self) -> Summary:
        return Summary(parts=[("data", {self.split.name: str(self.split)}), ("model", [self.uri])])


@dataclass(frozen=True)
class Method:
    """How models of a family are evaluated."""

    evaluate: Callable[[EvaluationPlan, Tracker, Console, ModelStore], Evaluation]
    part: Callable[[EvaluationPlan, Console], Iterable[Row]]
    """What a part of the data, which the plan is of, contributes."""


def plan(config: EvaluateExperiment, store: ModelStore) -> EvaluationPlan:
    """Read the data and load the recogniser, with its adapter if one is given."""
    given = config.evaluate
    adapter = registered_adapter(store, given.adapter, given.adapter_dir)
    settings = given.model_copy(update={"model": model_uri(given.model), "adapter": adapter})
    config = config.model_copy(update={"evaluate": settings})
    split = Split.read(settings.split, settings.data)
    if settings.phonemes:
        check_languages(split.cuts, settings.data)
    recognizer, uri = with_adapter(store, settings.model, settings.adapter, settings.adapter_dir)
    refuse_too_short(split, recognizer)
    overlap = overlap_with(split, store.lineage(uri, _adapter_of(settings, store)))
    decoding = prepare(config, recognizer, store, uri)
    config = config.model_copy(update={"decode": decoding.settings})
    return EvaluationPlan(config, split, recognizer, uri, decoding, overlap)


def registered_adapter(store: ModelStore, adapter: str, folder: str) -> str:
    """Return the pinned URI of an adapter's name that has no file in the folder, if it is registered; else as it is."""
    if not (uri := AdapterManager(folder).registered(adapter)):
        return adapter
    try:
        return store.resolve_version(uri)
    except UnavailableError:
        raise
    except AsrLabError:
        return adapter  # then the folder is searched, whose error names what is there


def _adapter_of(settings: schema.Evaluation, store: ModelStore) -> str:
    """Return the pinned URI or the file of the adapter; "" without one."""
    if settings.adapter.startswith(_OF_A_STORE):
        return store.resolve_version(settings.adapter)
    return str(AdapterManager(settings.adapter_dir).find(settings.adapter)) if settings.adapter else ""


def evaluate(
    config: EvaluateExperiment, tracker: Tracker, console: Console, *, store: ModelStore, parts: Parts | None = None
) -> Evaluation:
    """Score the manifest with the evaluation of the model's family, in a run of kind `evaluate`.

    With `parts`, the network computes elsewhere, with the same result.
    """
    use_threads(config.run.threads)
    planned = replace(plan(config, store), parts=parts)
    done: Evaluation = _method(planned.recognizer).evaluate(planned, tracker, console, store)
    return done


def _method(recognizer: Recognizer) -> Method:
    method: Method = find(family(recognizer.model_type).evaluation)
    return method


def evaluate_recognition(
    planned: EvaluationPlan, tracker: Tracker, console: Console, store: ModelStore
) -> EvaluatedRecognition:
    """Log WER with interval, CER, and the table and page of the utterances."""
    settings, split, recognizer = planned.config.evaluate, planned.split, planned.recognizer
    if settings.learners:
        raise AsrLabError("learners' pages are made by models of pronunciation", where=planned.uri)
    in_parts = planned.rows_of_parts if planned.parts else None
    config, decoding = tuned(planned.config, planned.decoding, recognizer, split.cuts, console, in_parts)
    if settings.tune and (
        note := register_weights(decoding.settings, decoding.lm_uri, planned.uri, settings.adapter, store)
    ):
        decoding = replace(decoding, notes=[*decoding.notes, note])
    clock = Clock()
    decoded = None
    if in_parts:
        decoded = merged(in_parts(_not_tuning(config), decoding), split.cuts, settings.batch_size)
    with tracker.start(_spec(planned, config, decoding, store)) as run:
        run.dataset(split.dataset())
        decoded = decoded or _decoded(planned, config, decoding, console)
        seconds = clock.seconds
        table = score(split.cuts, decoded.texts, recognizer.normalizer, in_phonemes=settings.phonemes)
        table = spacing.without_spaces(planned.overlap.mark(table))
        audio, note = embedded(split.cuts) if settings.audio else ({}, "")
        title = f"{run.name} on {settings.data}"
        interval = record_scores(run, table, settings.split, title, audio=audio, note=note)
        notes = planned.overlap.record(run, table, settings.split)
        run.note("\n\n".join(map(escape_markdown, notes)))
        if settings.save_predictions:
            record_predictions(run, table, settings.split)
        speech = columns.seconds(split.cuts)
        run.metrics(
            {
                "perf/seconds": clock.seconds,
                "perf/real_time_factor": seconds / speech,
                **clock.peak_memory(),
            }
        )
        record_decoding(run, decoding, decoded, table, settings.split)
        normalizer = recognizer.normalizer.name
        of_decoding, commands = decoding_notes(decoding, decoded, table, config, normalizer)
        return EvaluatedRecognition(
            run.run_id, run.name, interval, table, settings.split, clock.seconds, [*notes, *of_decoding], commands
        )


def _spec(planned: EvaluationPlan, config: EvaluateExperiment, decoding: Decoding, store: ModelStore) -> RunSpec:
    """Describe the run of an evaluation with its tuned configuration."""
    settings, recognizer, adapter_tags = config.evaluate, planned.recognizer, _adapter_tags(config.evaluate, store)
    return describe(
        config,
        family="evaluate",
        kind="evaluate",
        model_type=f"{recognizer.model_type}-adapter" if settings.adapter else recognizer.model_type,
        name=config.run.name or f"evaluate-{adapter_tags.get('speaker', 'base')}",
        data={settings.split: planned.split.digest, "base": planned.uri, "adapter": adapter_tags.get("adapter", "")}
        | decoding.digests,
        base=planned.uri,
        base_digest=weights_digest(recognizer.model),
        text=recognizer.normalizer.name,
        scorer=spacing.SCORER,
        **adapter_tags,
        **decoding.tags,
    )


def _decoded(planned: EvaluationPlan, config: EvaluateExperiment, decoding: Decoding, console: Console) -> Decoded:
    split, recognizer = planned.split, planned.recognizer
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("transcribing", total=len(split.cuts))
        return decode(decoding, recognizer, split.cuts, config.evaluate, lambda done: bar.advance(task, done))


def evaluate_part(config: EvaluateExperiment, store: ModelStore, part: Part, file: Path, console: Console) -> None:
    """Compute a part of the data into a file, for an evaluation in `parts`."""
    use_threads(config.run.threads)
    settings = config.evaluate
    split = Split.read(settings.split, settings.data)
    recognizer, uri = with_adapter(store, settings.model, settings.adapter, settings.adapter_dir)
    cuts = part.batches(split.cuts, settings.batch_size).chosen
    decoding = prepare(config, recognizer, store, uri)
    planned = EvaluationPlan(config, replace(split, cuts=cuts), recognizer, uri, decoding)
    write_part(file, _method(recognizer).part(planned, console), split, recognizer)


def _recognized(planned: EvaluationPlan, console: Console) -> Iterable[Row]:
    """Return the rows of a part: the texts of its utterances, or, to tune, their errors with all weights."""
    if planned.config.evaluate.tune:
        return errors_by_weights(planned.config, planned.decoding, planned.recognizer, planned.split.cuts)
    return rows_of(_decoded(planned, planned.config, planned.decoding, console))


def _not_tuning(config: EvaluateExperiment) -> EvaluateExperiment:
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"tune": False})})


RECOGNITION = Method(evaluate_recognition, _recognized)
RECIPE = Recipe(plan, evaluate)
