"""Compare fine-tuning methods on one base model: train each variant, or reuse an earlier training, then measure all of
them on the same test utterances in one process: error rates, speed, memory, size.

One parent run has a child run for each variant that is trained. The same command resumes an interrupted comparison.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from asr_lab.config.schema import ArmsExperiment, Wav2Vec2Experiment
from asr_lab.interfaces.tags import COMPARED
from asr_lab.interfaces.tracking import ARMS_DONE, ModelStore, Recorder, Tracker, is_tracked_uri
from asr_lab.metrics.slices import slices
from asr_lab.models import load_model
from asr_lab.recipes.comparison.measure import Measurement, Variant, measure, sentences, table
from asr_lab.recipes.comparison.plan import Experiments, experiments, pinned_base, plan_comparison
from asr_lab.recipes.comparison.speed import sample
from asr_lab.recipes.recipe import Recipe
from asr_lab.recipes.recognition.train import Role, Trained, train
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split, refuse_too_short
from asr_lab.recipes.training_loop import BEST
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.methods_figure import methods_figure
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import csv_text
from asr_lab.system.distributed import connect_processes, from_rank_0, is_first
from asr_lab.system.files import write_text
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.units import hms

_METRICS = {
    "wer": "test/wer",
    "cer": "test/cer",
    "speed_share": "perf/speed_share",
    "merged_speed_share": "perf/merged_speed_share",
    "memory_mb": "perf/memory_mb",
    "size_mb": "model/size_mb",
    "trainable_params": "model/trainable_params",
    "added_params": "model/added_params",
}
"""Column of the table -> metric; logged as `METRIC_by_arm/NAME`."""


@dataclass(frozen=True)
class ComparedMethods:
    """A finished comparison."""

    run_id: str
    run_name: str
    table: pd.DataFrame
    """One row per variant (`recipes.comparison.measure.table`)."""
    seconds: float

    @property
    def summary(self) -> Summary:
        """Where the table is logged; the command itself prints it."""
        rows = {"files": "compare/table.csv, compare/arms.png of the run", "time": hms(self.seconds)}
        return Summary(title=self.run_name, parts=[("", rows)])


def compare_arms(config: ArmsExperiment, tracker: Tracker, console: Console, *, store: ModelStore) -> ComparedMethods:
    """Train the variants that are not trained yet, then measure and record all."""
    clock = Clock()
    use_threads(config.run.threads)
    connect_processes()
    planned = plan_comparison(config, store)
    start, splits = planned.start, planned.splits
    spec = describe(
        config,
        family="wav2vec2",
        kind="arms",
        model_type="wav2vec2",
        name="arms",
        called=config.run.name or "arms",
        data={name: split.digest for name, split in splits.items()} | {"start": start},
        **({"base": start} if start else {}),
    )
    with tracker.start(spec) as run:
        console.say("{} [bold]{}[/]", "continuing" if run.resumed else "comparing", run.name)
        for split in splits.values():
            run.dataset(split.dataset())
        console.warn(planned.warnings)
        done = _Training(planned.experiments, start, run, tracker, store, console).train_all(config)
        if not is_first():
            return ComparedMethods(run.run_id, run.name, pd.DataFrame(), clock.seconds)
        rows = _record(run, done, _measure(config, done, splits["test"], store, console), planned.notes)
        run.metrics({"perf/seconds": clock.seconds})
        return ComparedMethods(run.run_id, run.name, rows, clock.seconds)


def train_variant(
    name: str, config: ArmsExperiment, tracker: Tracker, console: Console, *, store: ModelStore
) -> Trained | None:
    """Train one variant in a run of its own, which the comparison reuses; None of the untouched base."""
    use_threads(config.run.threads)
    connect_processes()
    experiment = experiments(config, pinned_base(config, store))[name]
    if experiment is None:
        return None
    role = Role(name=_called(config, name), compared=True, reuse=True)
    return train(experiment, tracker, console, store=store, role=role)


def _called(config: ArmsExperiment, name: str) -> str:
    return f"{config.run.name or 'arms'}-{name}"


@dataclass(frozen=True)
class _Training:
    """The trainings of a comparison."""

    experiments: Experiments
    start: str
    run: Recorder
    tracker: Tracker
    store: ModelStore
    console: Console

    def train_all(self, config: ArmsExperiment) -> list[Variant]:
        """Return all variants, after training the missing ones."""
        file = self.run.checkpoints / ARMS_DONE
        known = from_rank_0({one.name: one for one in _read(file)})
        done: list[Variant] = []
        _write(file, list(known.values()))
        for name, experiment in self.experiments.items():
            if experiment is None:
                done.append(Variant(name, self.start))
                continue
            if name in known:
                self.console.print(f"method {name} is done: {known[name].run_name}")
            done.append(known.get(name) or from_rank_0(self._train(name, experiment, _called(config, name))))
            _write(file, done)
        return done

    def _train(self, name: str, experiment: Wav2Vec2Experiment, called: str) -> Variant:
        folder = self.run.checkpoints / name

        def save_model(child: Recorder, trained: Trained) -> None:
            if not is_tracked_uri(trained.model_uri):
                shutil.copytree(child.checkpoints / BEST, folder, dirs_exist_ok=True)

        role = Role(parent=self.run.run_id, name=called, compared=True, reuse=True, conclude=save_model)
        trained = train(experiment, self.tracker, self.console, store=self.store, role=role)
        if trained.reused:
            self.console.print(f"method {name} is already trained: {trained.run_name}")
        model = str(folder) if folder.is_dir() else trained.model_uri
        return Variant(name, model, trained.run_id, trained.run_name, trained.costs)


def _read(file: Path) -> list[Variant]:
    return [Variant(**row) for row in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []


def _write(file: Path, variants: list[Variant]) -> None:
    write_text(file, json.dumps([asdict(one) for one in variants]))


def _measure(
    config: ArmsExperiment, done: list[Variant], test: Split, store: ModelStore, console: Console
) -> list[Measurement]:
    """Measure each variant on the test data, relative to the first one."""
    first = load_model(store.resolve(done[0].model), store.resolve)
    refuse_too_short(test, first)
    first.hypotheses(sample(test.cuts, config.compare.utterances))  # one-time allocations count for no variant
    measurements: list[Measurement] = []
    for variant in done:
        folder = store.resolve(variant.model)
        with console.status("measuring"):
            load = partial(load_model, folder, store.resolve)
            measurements.append(measure(folder, load, test.cuts, None if variant is done[0] else first, config.compare))
        console.print(f"  {variant.name}: {measurements[-1]}")
    return measurements


def _record(run: Recorder, done: list[Variant], measurements: list[Measurement], notes: list[str]) -> pd.DataFrame:
    """Log table, figure, metrics, and the utterances and slices of each variant; return the table."""
    rows = table(done, measurements)
    for column, metric in _METRICS.items():
        values = rows.set_index("arm")[column].dropna()
        run.metrics({f"{metric}_by_arm/{name}": value for name, value in values.items()})
    for variant, one in zip(done, measurements, strict=True):
        run.table(one.scores, f"eval/{variant.name}.parquet")
    by_slice = [slices(one.scores).assign(arm=variant.name) for variant, one in zip(done, measurements, strict=True)]
    run.table(pd.concat(by_slice), "eval/arms_slices.parquet")
    run.text(csv_text(rows), "compare/table.csv")
    run.figure(methods_figure(rows), "compare/arms.png")
    run.tags({COMPARED: ",".join(variant.run_id or variant.model for variant in done)})
    run.note("\n".join([*sentences(rows), *(f"- Note: {escape_markdown(line)}" for line in notes)]))
    return rows


RECIPE = Recipe(plan_comparison, compare_arms)
