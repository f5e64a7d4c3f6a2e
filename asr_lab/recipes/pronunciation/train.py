"""Train a model of pronunciation assessment: data, training, thresholds on validation, evaluation, record."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from transformers import TrainerCallback, TrainerState

from asr_lab.config.schema import PronunciationExperiment
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.interfaces.tags import FAMILY, VAL
from asr_lab.interfaces.tracking import Lineage, ModelStore, Recorder, RegisteredModel, Tracker
from asr_lab.metrics.catalog import BEST_STEP
from asr_lab.metrics.pronunciation import SCORER
from asr_lab.models.pronunciation.assessor import Assessor, load_recognizer
from asr_lab.models.pronunciation.decisions import Decisions
from asr_lab.recipes.pronunciation import scoring
from asr_lab.recipes.pronunciation.plan import PronunciationPlan, plan
from asr_lab.recipes.pronunciation.validation import ShowExamples, Validator
from asr_lab.recipes.recipe import Recipe
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.training_loop import BEST, begin, best_step, fit
from asr_lab.recipes.training_overlap import in_training
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import Table
from asr_lab.system.distributed import is_first
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.training.callbacks import KeepBest, KeepEach
from asr_lab.units import hms

_HIGHER = {"error_f1": True, "per": False, "loss": False}
"""Criterion of the best epoch -> whether higher is better."""

_NO_ERROR_HEAD = (
    "loss.errors=0: only phoneme recognition was trained; errors are detected by GOP, not in the rows model and fused"
)


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    run_id: str
    run_name: str
    model_uri: str
    table: pd.DataFrame
    """One row per split and predictor (`scoring.summary`)."""
    notes: list[str]
    seconds: float

    @property
    def summary(self) -> Summary:
        """Model, trivial predictors, GOP and fusion on each split."""
        rows = {"model": self.model_uri, "time": hms(self.seconds)}
        use = f"asr-lab evaluate --model {shlex.quote(self.model_uri)} --data MANIFEST --learner-pages"
        return Summary(
            title=self.run_name,
            parts=[("", Table(frame=self.table)), ("", rows)],
            notes=self.notes,
            model=self.model_uri,
            next_commands=[use],
        )


def train(
    config: PronunciationExperiment,
    tracker: Tracker,
    console: Console,
    *,
    store: ModelStore | None = None,
    own: bool = False,
) -> Trained:
    """Train, save the best epochs, choose thresholds on validation, test, and register under `run.register_as`."""
    clock = Clock()
    use_threads(config.run.threads)
    planned = plan(config, store or FolderStore())
    config = planned.config
    console.warn(planned.warnings)
    spec = describe(
        config,
        family=config.recipe,
        kind="train",
        model_type=planned.recognizer.kind,
        name=config.run.name or planned.recognizer.kind,
        data={name: split.digest for name, split in planned.splits.items()},
        scorer=SCORER,
        **({"base": planned.base_uri} if planned.base_uri else {}),
    )
    with tracker.start(spec, own=own) as run:
        begin(planned, run, console)
        run.text(json.dumps(planned.recognizer.vocabulary), "vocab.json")
        settings = config.train
        validator = Validator(planned.recognizer, planned.val.cuts, settings.batch_size, settings.examples)
        state = fit(planned, run, console, validator, partial(_keepers, planned, run, console, validator))
        if not is_first():
            return Trained(run.run_id, run.name, "", pd.DataFrame(), [], clock.seconds)
        return _conclude(planned, run, clock, state, store or FolderStore())


def _folder_of(criterion: str, chosen: str) -> str:
    return BEST if criterion == chosen else f"{BEST}-{criterion}"


def _keepers(
    planned: PronunciationPlan, run: Recorder, console: Console, validator: Validator, folder: Path
) -> list[TrainerCallback]:
    """Return callbacks that save the best epoch by each criterion; patience applies to the chosen one."""
    settings, save = planned.config.train, planned.recognizer.save
    keepers = []
    for name, higher in _HIGHER.items():
        if name == "error_f1" and not planned.config.loss.errors:
            continue
        limits = (settings.patience, settings.min_delta) if name == settings.choose else (0, 0.0)
        keepers.append(KeepBest(folder / _folder_of(name, settings.choose), save, *limits, by=name, higher=higher))
    return [KeepEach(keepers), ShowExamples(validator, run, console, folder)]


def _conclude(
    planned: PronunciationPlan, run: Recorder, clock: Clock, state: TrainerState, store: ModelStore
) -> Trained:
    """Decide on validation, test the best epoch, log tables, figures and the model, register."""
    config, folder = planned.config, run.checkpoints
    best = load_recognizer(folder / BEST)
    figures = json.loads((folder / BEST / "best.json").read_text())
    chosen = config.train.choose
    run.metrics({"best/epoch": figures["epoch"], BEST_STEP: best_step(state, figures["epoch"])})
    splits = {name: planned.splits[name].cuts for name in planned.tested}
    assessed_by = {name: dict(best.iterate_assessments(cuts)) for name, cuts in splits.items()}
    tables = {name: scoring.assessment_table(cuts, assessed_by[name]) for name, cuts in splits.items()}
    best.decisions = Decisions.fit(tables["val"], planned.splits["val"].digest)
    best.decisions.save(folder / BEST)
    run.text(json.dumps(figures), "best.json")
    notes = [] if config.loss.errors else [_NO_ERROR_HEAD]
    assessed, overlaps = {}, list[str]()
    step, lineage = int(state.global_step) + 1, Lineage() if run.minimal else planned.lineage(store)
    for name, table in tables.items():
        split = planned.splits[name]
        overlap = in_training(split, split.cuts, lineage, planned.train.cuts, planned.leakage, run.name)
        assessed[name] = scoring.decide(overlap.mark(table), best.decisions)
        cuts, threshold = planned.splits[name].cuts, best.decisions.threshold
        more = scoring.wrong_text(best, cuts, assessed[name], threshold) if name != "val" else {}
        notes += scoring.record(run, assessed[name], name, step=step, of_best=True, more=more)
        overlaps += overlap.record(run, assessed[name].table, name, step)
    notes = scoring.not_learned(assessed[name], name) + notes  # of the last split, test where there is one
    notes += dict.fromkeys(overlaps if planned.base_uri else [])  # otherwise leakage, which is reported before
    shown = scoring.summary(assessed)
    run.table(shown, "summary.parquet")
    size = sum(file.stat().st_size for file in (folder / BEST).glob("*.safetensors"))
    run.metrics({"model/size_mb": size / 1e6})
    uri = _log_models(planned, run, best, figures[chosen])
    run.metrics({"perf/seconds": clock.seconds, **clock.peak_memory()})
    run.text(json.dumps(state.log_history, indent=1), "training_log.json")
    best_epoch = f"best epoch {figures['epoch']:.0f} by val/{chosen} {figures[chosen]:.3f} ({SCORER})"
    run.note("\n\n".join([f"{best_epoch}; {escape_markdown(uri)}", *notes, *planned.leakage.notes()]))
    return Trained(run.run_id, run.name, uri, shown, notes, clock.seconds)


def _log_models(planned: PronunciationPlan, run: Recorder, best: Assessor, figure: float) -> str:
    """Log the best model, and those of the other criteria as files; return the URI of the former."""
    config, folder = planned.config, run.checkpoints
    for other in sorted(folder.glob(f"{BEST}-*")) if not run.minimal else ():
        run.file(other)
    model = RegisteredModel(
        name=config.run.register_as or best.kind,
        files={"model": folder / BEST},
        tags={FAMILY: config.recipe, f"{VAL}{config.train.choose}": f"{figure:.4f}"},
    )
    return run.model(model, register=bool(config.run.register_as))


RECIPE = Recipe(plan, train)
