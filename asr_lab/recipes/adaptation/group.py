"""Adapters for all speakers of a manifest: one child run per speaker, pooled metrics, and a learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

import pandas as pd
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.config.schema import AdapterExperiment
from asr_lab.data import manifest
from asr_lab.data.splits import groups
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tags import COMPARED
from asr_lab.interfaces.tracking import Lineage, ModelStore, Recorder, Tracker
from asr_lab.metrics.spacing import SCORER
from asr_lab.models.adapter import check_name
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.adaptation.fit import AdapterTrainer
from asr_lab.recipes.adaptation.improvement import Improvement
from asr_lab.recipes.adaptation.plan import AdaptationPlan, load_base, plan
from asr_lab.recipes.adaptation.train import adapt
from asr_lab.recipes.recipe import Outcome, Recipe
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split
from asr_lab.recipes.training_overlap import overlap
from asr_lab.reports.learning_curve import growth_figure
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import Table
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.training.encoder_outputs import EncoderOutputs
from asr_lab.units import counted


@dataclass(frozen=True)
class SpeakerResult:
    """The improvement by one speaker's adapter, and by those trained on fewer utterances: number -> improvement."""

    name: str
    run_id: str
    improvement: Improvement
    by_size: Mapping[int, Improvement]


@dataclass(frozen=True)
class AdaptedGroup:
    """All adapters, their pooled improvement, and the improvement with less training data."""

    run_id: str
    run_name: str
    speakers: list[SpeakerResult]
    improvement: Improvement
    growth: pd.DataFrame
    """One row per number of training utterances: `learned_from` (last row: mean of all data), WER and CER of base and
    adapted, the difference."""

    def by_speaker(self) -> pd.DataFrame:
        """Return one row per speaker."""
        return pd.DataFrame([{"person": one.name, **_figures(one.improvement)} for one in self.speakers])

    @property
    def summary(self) -> Summary:
        """The speakers, the learning curve, and the pooled metrics."""
        growth = self.growth if len(self.growth) > 1 else self.growth[:0]
        return Summary(
            parts=[
                ("", Table(frame=self.by_speaker()[["person", "utterances", *_SHOWN]], headings={"person": "speaker"})),
                ("", Table(frame=growth[["learned_from", *_SHOWN]])),
                (f"{counted(len(self.speakers), 'speaker')}, pooled", self.improvement.rows()),
            ]
        )


@dataclass(frozen=True)
class GroupPlan:
    """A plan for each speaker."""

    config: AdapterExperiment
    speakers: list[AdaptationPlan]

    @property
    def warnings(self) -> list[str]:
        return [line for one in self.speakers for line in one.warnings]

    @property
    def summary(self) -> Summary:
        return Summary(parts=[("", [str(one) for one in self.speakers])])


_SHOWN = ("wer_base", "wer", "wer_delta", "wer_delta_low", "wer_delta_high", "cer_base", "cer")


def plan_group(config: AdapterExperiment, base_uri: str, recognizer: DeepSpeech2Recognizer) -> GroupPlan:
    """Plan each speaker's adapter; all are checked before any training."""
    training_cuts = _by_speaker("train", config.data.train, config.data.each)
    tested = _by_speaker("test", config.data.test, config.data.each) if config.data.test else {}
    for name in training_cuts:
        check_name(name)
    if config.data.test and (missing := sorted(training_cuts.keys() - tested.keys())):
        raise AsrLabError(
            f"{counted(len(missing), 'speaker', 'have')} no test utterances: {listing(missing)}",
            where=config.data.test,
            allowed="utterances of every speaker of data.train, or data.cross_fit=5 instead of data.test",
        )
    planned = [
        plan(_of_speaker(config, name), base_uri, recognizer, own, tested.get(name))
        for name, own in sorted(training_cuts.items())
    ]
    _check_sizes(config, planned)
    return GroupPlan(config, planned)


def speaker_names(config: AdapterExperiment) -> list[str]:
    """Return the speakers of `data.train`; raises `AsrLabError` for those that can name no adapter."""
    names = sorted(_by_speaker("train", config.data.train, config.data.each))
    for name in names:
        check_name(name)
    return names


def _by_speaker(split: str, path: str, field: str) -> dict[str, Split]:
    manifest_split = Split.read(split, path)
    by_speaker = groups(manifest_split.cuts, field)
    return {name: _part(manifest_split, cuts) for name, cuts in by_speaker.items()}


def _check_sizes(config: AdapterExperiment, planned: list[AdaptationPlan]) -> None:
    """Raise `AsrLabError` for sizes larger than the training data of a speaker."""
    fewest, speaker = min((len(fold.train), one.config.adapter.name) for one in planned for fold in one.folds)
    too_large = [size for size in config.data.sizes if size >= fewest]
    if too_large:
        raise AsrLabError(
            f"data.sizes={listing(too_large)}: {speaker} has {counted(fewest, 'training utterance')} per fold",
            where=config.data.train,
            allowed=f"sizes below {fewest}; all of the data is measured too",
        )


def _of_speaker(config: AdapterExperiment, name: str, learn_from: int | None = None) -> AdapterExperiment:
    data = {"each": "", "sizes": ()} | ({} if learn_from is None else {"learn_from": learn_from})
    return config.model_copy(
        update={
            "adapter": config.adapter.model_copy(update={"name": name}),
            "data": config.data.model_copy(update=data),
        }
    )


def _part(split: Split, rows: Sequence[Cut]) -> Split:
    cuts = CutSet.from_cuts(rows)
    return Split(split.name, split.path, cuts, manifest.digest(cuts))


def adapt_group(group: GroupPlan, tracker: Tracker, console: Console) -> AdaptedGroup:
    """Train an adapter for each plan, as child runs of one run with the pooled metrics."""
    config, planned = group.config, group.speakers
    clock, base_uri = Clock(), planned[0].base_uri
    use_threads(config.run.threads)
    split = Split.read("train", config.data.train)
    spec = describe(
        config,
        family="adapter",
        kind="group",
        model_type="deepspeech2-adapter",
        name=config.run.name or f"each-{config.data.each}",
        data={"train": split.digest, "base": base_uri},
        base=base_uri,
        text=planned[0].recognizer.normalizer.name,
        scorer=SCORER,
    )
    with tracker.start(spec) as run:
        run.dataset(split.dataset())
        results = []
        for number, one in enumerate(planned, 1):
            console.say("[dim]{} of {}[/] ", number, len(planned), end="")
            results.append(_result(one, config, tracker, console, parent=run.run_id))
        pooled = _pooled(config, [one.improvement for one in results])
        full_size = round(mean(len(fold.train) for one in planned for fold in one.folds))
        by_size = {size: _pooled(config, [one.by_size[size] for one in results]) for size in config.data.sizes}
        done = AdaptedGroup(run.run_id, run.name, results, pooled, _growth(by_size | {full_size: pooled}))
        _record(run, done, base_uri)
        run.metrics({"perf/seconds": clock.seconds})
        return done


def adapt_speaker(
    name: str, config: AdapterExperiment, tracker: Tracker, console: Console, *, store: ModelStore
) -> SpeakerResult:
    """Train the adapter of one speaker of a group in a run of its own, which the run of the group reuses."""
    use_threads(config.run.threads)
    planned = plan_adapters(config, store)
    assert isinstance(planned, GroupPlan)
    (one,) = (one for one in planned.speakers if one.config.adapter.name == name)
    return _result(one, config, tracker, console)


def _result(
    one: AdaptationPlan, config: AdapterExperiment, tracker: Tracker, console: Console, parent: str = ""
) -> SpeakerResult:
    """Train the adapter of a speaker, and those on less data; or read the tables of an earlier attempt or job."""
    name = one.config.adapter.name
    if earlier := tracker.finished(one.spec, own=True):
        console.print(f"{name} is already adapted: {earlier.name}")
        tables = {size: [earlier.table(path) for path in _tables(size)] for size in (0, *config.data.sizes)}
        improvements = {size: _improvement(config, *both) for size, both in tables.items()}
        return SpeakerResult(name, earlier.run_id, improvements.pop(0), improvements)
    by_size: dict[int, Improvement] = {}

    def measure_sizes(run: Recorder, outputs: EncoderOutputs) -> None:
        for size in config.data.sizes:
            smaller = _of_speaker(one.config, name, size)
            folds = plan(smaller, one.base_uri, one.recognizer, *one.splits.values()).folds
            both = AdapterTrainer(one.recognizer, outputs, smaller).measure(folds)
            for path, table in zip(_tables(size), both, strict=True):
                run.table(table, path)
            by_size[size] = _improvement(config, *both)

    adapted = adapt(one, tracker, console, parent=parent, conclude=measure_sizes)
    return SpeakerResult(name, adapted.run_id, adapted.improvement, by_size)


def _tables(size: int) -> list[str]:
    """Return the paths of the score tables of the base and an adapter trained on `size` utterances; 0: on all."""
    folder = f"eval/learned_from_{size}" if size else "eval"
    return [f"{folder}/{name}.parquet" for name in ("base_test", "test")]


def _record(run: Recorder, done: AdaptedGroup, base_uri: str) -> None:
    done.improvement.record(run, counted(len(done.speakers), "speaker"), base_uri)
    run.tags({COMPARED: ",".join(one.run_id for one in done.speakers)})
    run.table(done.by_speaker(), "eval/people.parquet")
    run.table(done.growth, "eval/growth.parquet")
    run.figure(growth_figure(done.growth), "eval/growth.png")
    for row in done.growth.itertuples():
        run.metrics({"test/wer_by_learned_from": row.wer}, step=int(row.learned_from))
    run.note("\n".join(f"- **{label}** {text}" for label, text in done.improvement.rows().items()))


def _improvement(config: AdapterExperiment, base: pd.DataFrame, adapted: pd.DataFrame) -> Improvement:
    return Improvement.of(base, adapted, unit=config.data.interval_unit, seed=config.run.seed)


def _pooled(config: AdapterExperiment, improvements: list[Improvement]) -> Improvement:
    """Pool all utterances of all speakers as one corpus."""
    tables = (
        pd.concat([getattr(improvement, side) for improvement in improvements], ignore_index=True)
        for side in ("base", "adapted")
    )
    return _improvement(config, *tables)


def _growth(by_size: Mapping[int, Improvement]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"learned_from": size, **_figures(improvement)} for size, improvement in sorted(by_size.items())]
    )


def _figures(improvement: Improvement) -> dict[str, float]:
    named = {name.removeprefix("test/"): value for name, value in improvement.metrics().items()}
    return {"utterances": len(improvement.adapted), **named}


def plan_adapters(config: AdapterExperiment, store: ModelStore) -> AdaptationPlan | GroupPlan:
    """Plan one speaker's adapter, or with `data.each` one for each value of that field."""
    base = load_base(config.adapter.base, store)
    lineage = store.lineage(base[0])
    if not config.data.each:
        return _with_overlap([plan(config, *base)], lineage)[0]
    group = plan_group(config, *base)
    return replace(group, speakers=_with_overlap(group.speakers, lineage))


def _with_overlap(planned: Sequence[AdaptationPlan], lineage: Lineage) -> list[AdaptationPlan]:
    """Return plans with what of their tests the base was trained on; its manifests are read once."""
    tested = CutSet.from_cuts({cut.id: cut for one in planned for fold in one.folds for cut in fold.test}.values())
    digest = planned[0].splits["test"].digest if len(planned) == 1 else ""
    known = overlap(Split("test", planned[0].splits["test"].path, tested, digest), lineage)
    return [replace(one, overlap=known) for one in planned]


def run(config: AdapterExperiment, tracker: Tracker, console: Console, *, store: ModelStore) -> Outcome:
    """Train one speaker's adapter, or with `data.each` one for each value of that field."""
    planned = plan_adapters(config, store)
    if isinstance(planned, GroupPlan):
        return adapt_group(planned, tracker, console)
    return adapt(planned, tracker, console)


RECIPE = Recipe(plan_adapters, run)
