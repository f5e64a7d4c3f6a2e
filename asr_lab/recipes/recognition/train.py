"""Train a recogniser: manifests -> vocabulary -> batches -> model -> metrics -> a run, and a version of the model.

What differs between families is where their training starts from (`deepspeech2.py`, `wav2vec2.py`: the family's
`initialization`), and the recogniser's own batches and folder.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState

from asr_lab.config.schema import RecognitionExperiment
from asr_lab.data.batches import InOrder, for_model, loader
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.interfaces.tags import FAMILY, VAL
from asr_lab.interfaces.tracking import FinishedRun, Lineage, ModelStore, Recorder, RegisteredModel, RunSpec, Tracker
from asr_lab.metrics.catalog import BEST_STEP
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.spacing import SCORER
from asr_lab.models import load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.recipe import Recipe
from asr_lab.recipes.recognition.plan import RecognitionPlan, plan
from asr_lab.recipes.recognition.scoring import not_learned, record_scores, score
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.training_loop import BEST, begin, best_step, fit
from asr_lab.recipes.training_overlap import in_training
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.summary import Summary, interval_text
from asr_lab.system.distributed import from_rank_0, is_first, rank_and_world_size
from asr_lab.system.files import atomic_folder, explain_unwritable
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.training.callbacks import KeepBest
from asr_lab.training.trainer import Sums, count
from asr_lab.units import hms

COSTS = (
    "model/params",
    "model/trainable_params",
    "model/trainable_share",
    "model/size_mb",
    "perf/seconds",
    "perf/peak_memory_mb",
    "perf/peak_gpu_memory_mb",
)


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    run_id: str
    run_name: str
    model_uri: str
    val_wer: float
    test: Interval | None
    seconds: float
    history: list[dict[str, Any]] = field(default_factory=list)
    """Trainer's log: `epoch`, `step`, and `loss` or `eval_wer` and the like."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Size, time and memory, by metric name."""
    reused: bool = False
    """Whether an earlier run was reused."""
    notes: Sequence[str] = ()

    @property
    def summary(self) -> Summary:
        rows = {"val/wer": f"{self.val_wer:.1%}"}
        if self.test:
            rows["test/wer"] = f"{self.test.value:.1%}, {interval_text(self.test.low, self.test.high)}"
        rows |= {"model": self.model_uri, "time": hms(self.seconds)}
        use = f"asr-lab transcribe FILE.wav --model {shlex.quote(self.model_uri)}"
        return Summary(
            title=self.run_name, parts=[("", rows)], notes=self.notes, model=self.model_uri, next_commands=[use]
        )

    @classmethod
    def of(cls, earlier: FinishedRun, planned: RecognitionPlan) -> Trained:
        """Reuse an earlier training of the same signature."""
        costs = planned.costs | {name: earlier.metrics[name] for name in COSTS if name in earlier.metrics}
        wer, seconds = earlier.metrics["best/val_wer"], earlier.metrics["perf/seconds"]
        return cls(earlier.run_id, earlier.name, earlier.model_uri, wer, None, seconds, costs=costs, reused=True)


@dataclass(frozen=True)
class Role:
    """The role of a training within a larger run; by default none."""

    family: str = ""
    """Family of the larger run."""
    kind: str = "train"
    parent: str = ""
    name: str = ""
    """Full name of the run, in place of a generated one."""
    compared: bool = False
    """Whether the larger run has reported data leakage already."""
    reuse: bool = False
    """Whether to reuse a finished run of the same signature."""
    conclude: Callable[[Recorder, Trained], object] = lambda run, trained: None
    """Called before the run ends."""


def train(
    config: RecognitionExperiment,
    tracker: Tracker,
    console: Console,
    *,
    store: ModelStore | None = None,
    own: bool = False,
    role: Role = Role(),
) -> Trained:
    """Train, test the best epoch, and register it under `run.register_as`.

    `store` resolves the model to fine-tune; without one it must be a folder.
    """
    clock = Clock()
    use_threads(config.run.threads)
    planned = plan(config, store or FolderStore())
    config = planned.config
    reported = planned.leakage.warnings() if role.compared else []
    console.warn(warning for warning in planned.warnings if warning not in reported)
    spec = _describe(planned, role)
    if role.reuse and (earlier := from_rank_0(tracker.finished(spec))):
        return Trained.of(earlier, planned)
    with tracker.start(spec, own=own or bool(role.parent)) as run:
        begin(planned, run, console)
        run.text(json.dumps(planned.recognizer.vocabulary, ensure_ascii=False), "vocab.json")
        keepers = partial(_keepers, config, planned.recognizer)
        state = fit(planned, run, console, lambda: _validate(planned), keepers)
        if not is_first():
            return Trained(run.run_id, run.name, "", float("nan"), None, clock.seconds)
        trained = _conclude(planned, run, clock, state, store or FolderStore())
        role.conclude(run, trained)
        return trained


def _describe(planned: RecognitionPlan, role: Role) -> RunSpec:
    config = planned.config
    return describe(
        config,
        family=role.family or config.recipe,
        kind=role.kind,
        parent=role.parent,
        model_type=planned.recognizer.model_type,
        name=config.run.name or config.recipe,
        data={name: split.digest for name, split in planned.splits.items()},
        text=planned.recognizer.normalizer.name,
        scorer=SCORER,
        called=role.name,
        **({"base": planned.base_uri} if planned.base_uri else {}),
        **({"merged": "true"} if planned.merges else {}),
    )


def _keepers(config: RecognitionExperiment, recognizer: Recognizer, folder: Path) -> list[TrainerCallback]:
    settings = config.train
    return [KeepBest(folder / BEST, recognizer.save, settings.patience, settings.min_delta, by=settings.choose)]


@torch.inference_mode()
def _validate(planned: RecognitionPlan) -> Sums:
    """Return loss and errors on this rank's share of the validation data."""
    recognizer, config = planned.recognizer, planned.config
    rank, world_size = rank_and_world_size()
    order = InOrder(planned.val.cuts, config.train.batch_size, rank=rank, world_size=world_size)
    loss = 0.0
    hypotheses: dict[str, str] = {}
    for batch in loader(order, recognizer.collator(labelled=True)):
        output = recognizer.model(**for_model(batch, recognizer.model.device))
        loss += float(output.loss) * len(batch["cut_ids"])
        texts = recognizer.decode(output.logits, output.logit_lengths)
        hypotheses |= dict(zip(batch["cut_ids"], texts, strict=True))
    return count(loss, score(order.chosen, hypotheses, recognizer.normalizer, in_phonemes=config.data.phonemes))


def _conclude(planned: RecognitionPlan, run: Recorder, clock: Clock, state: TrainerState, store: ModelStore) -> Trained:
    """Test the best epoch, log models, metrics and the training log, and register."""
    config, folder = planned.config, run.checkpoints
    best, best_folder = _best(planned, folder, store)
    figures = json.loads((folder / BEST / "best.json").read_text())
    run.metrics({"best/epoch": figures["epoch"], BEST_STEP: best_step(state, figures["epoch"])})
    tested, notes, overlaps = None, list[str](), list[str]()
    chosen = {"val": planned.val.cuts} | {n: s.cuts for n, s in planned.splits.items() if n == "test"}
    step, lineage = int(state.global_step) + 1, Lineage() if run.minimal else planned.lineage(store)
    for name, cuts in chosen.items():
        split, train_cuts = planned.splits[name], planned.train.cuts
        overlap = in_training(split, cuts, lineage, train_cuts, planned.leakage, run.name)
        table = overlap.mark(score(cuts, best.hypotheses(cuts), best.normalizer, in_phonemes=config.data.phonemes))
        tested = record_scores(run, table, name, f"{run.name} on {name}", step=step, of_best=True)
        notes = not_learned(table, name) or notes
        overlaps += overlap.record(run, table, name, step)
    notes += dict.fromkeys(overlaps if planned.base_uri else [])  # otherwise leakage, which is reported before
    size = sum(file.stat().st_size for file in best_folder.glob("*.safetensors"))
    costs = {"model/size_mb": size / 1e6, "perf/seconds": clock.seconds, **clock.peak_memory()}
    run.metrics(costs)
    if not run.minimal:
        run.file(folder / "final")
    run.text(json.dumps(state.log_history, indent=1), "training_log.json")
    model = RegisteredModel(
        name=config.run.register_as or config.recipe,
        files={"model": best_folder},
        tags={FAMILY: config.recipe, f"{VAL}wer": f"{figures['wer']:.4f}"},
    )
    uri = run.model(model, register=bool(config.run.register_as))
    test = tested if "test" in planned.splits else None
    test_wer = f", test/wer {test.value:.1%} ({test.low:.1%} to {test.high:.1%})" if test else ""
    figure = f"best epoch {figures['epoch']:.0f}: val/wer {figures['wer']:.1%}{test_wer}; {escape_markdown(uri)}"
    run.note("\n\n".join([figure, *notes, *planned.leakage.notes()]))
    costs |= planned.costs
    return Trained(
        run.run_id, run.name, uri, figures["wer"], test, clock.seconds, state.log_history, costs, notes=notes
    )


def _best(planned: RecognitionPlan, folder: Path, store: ModelStore) -> tuple[Recognizer, Path]:
    """Return the recogniser of the best epoch and its folder, merged into one plain model if the plan says so."""
    best = load_model(folder / BEST, store.resolve)
    if not planned.merges:
        return best, folder / BEST
    best.merge()
    merged = folder / "merged"
    with explain_unwritable("the merged model", merged), atomic_folder(merged, replaces=True) as written:
        best.save(written)
    return best, merged


RECIPE = Recipe(plan, train)
