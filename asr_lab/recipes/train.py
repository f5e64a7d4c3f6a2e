"""Train a recogniser: manifests -> vocabulary -> batches -> model -> metrics -> a run, and a version of the model.

What differs between models is where their training starts from (`recipes.deepspeech2`, `recipes.wav2vec2`) and what
the recogniser itself says of its batches and its folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import TrainerState

from asr_lab.config.schema import TrainExperiment
from asr_lab.data import manifest
from asr_lab.data.batches import EpochBatches, InOrder, for_model, loader
from asr_lab.metrics.significance import Interval
from asr_lab.models import load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer
from asr_lab.recipes.common import Clock, describe, rank_and_world_size, record_scores, score, use_threads
from asr_lab.recipes.plan import Plan, plan
from asr_lab.training.callbacks import DropBrokenUpdates, KeepBest, Recording, SaveEvery, Telling
from asr_lab.training.recorder import FolderStore, ModelStore, Recorder, RegisteredModel, Tracker
from asr_lab.training.trainer import AsrTrainer, Sums, count, from_rank_0, last_checkpoint, meet, written_whole

BEST = "model"  # folder of the best epoch among the checkpoints, and the model's name in the logged artifacts


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


@dataclass(frozen=True)
class Part:
    """How a training belongs to a larger run; by default to none."""

    family: str = ""
    """That of the larger run."""
    kind: str = "train"
    parent: str = ""
    conclude: Callable[[Recorder, Trained], object] = lambda run, trained: None
    """Called with the run before it ends."""


def train(
    config: TrainExperiment,
    tracker: Tracker,
    console: Console,
    *,
    store: ModelStore | None = None,
    own: bool = False,
    part: Part = Part(),
) -> Trained:
    """Train, keep the best epoch, test it, and register it under `run.register_as`.

    `store` gives the model to fine-tune; without one it must be a folder.
    """
    clock = Clock()
    use_threads(config.run.threads)
    planned = plan(config, store or FolderStore())
    config = planned.config
    for warning in planned.warnings():
        console.print(f"[yellow]warning[/] {warning}", highlight=False)
    spec = describe(
        config,
        family=part.family or config.recipe,
        kind=part.kind,
        parent=part.parent,
        model_type=planned.recognizer.model_type,
        name=config.run.name or config.recipe,
        data={name: split.digest for name, split in planned.splits.items()},
        text=planned.recognizer.normalizer.name,
        **({"base": planned.base_uri} if planned.base_uri else {}),
    )
    with tracker.start(spec, own=own or bool(part.parent)) as run:
        doing = "continuing" if run.resumed else "fine-tuning" if planned.base_uri else "training"
        console.print(
            f"{doing} [bold]{run.name}[/]: "
            f"{planned.num_params / 1e6:.2f} M parameters, {len(planned.train.cuts)} utterances, "
            f"{planned.splits['train'].hours * 60:.1f} min",
            highlight=False,
        )
        for split in planned.splits.values():
            run.dataset(split.dataset())
        sizes = {"model/params": planned.num_params, "model/trainable_params": planned.num_trainable}
        run.metrics(sizes | {"model/trainable_share": planned.num_trainable / planned.num_params})
        run.text(json.dumps(planned.recognizer.vocabulary, ensure_ascii=False), "vocab.json")
        state = _fit(planned, run, console)
        if rank_and_world_size()[0] > 0:
            return Trained(run.run_id, run.name, "", float("nan"), None, clock.seconds)
        trained = _conclude(planned, run, clock, state, store or FolderStore())
        part.conclude(run, trained)
        return trained


def _fit(planned: Plan, run: Recorder, console: Console) -> TrainerState:
    """Train from the last checkpoint there is; where that ended."""
    config, recognizer = planned.config, planned.recognizer
    collator = recognizer.collator(labelled=True, augmenter=planned.augmenter())
    rank, world_size = rank_and_world_size()
    batches = EpochBatches(
        planned.train.cuts,
        config.train.batch_size,
        seed=config.run.seed,
        rank=rank,
        world_size=world_size,
        accumulate=config.train.accumulate,
    )
    meet()  # to agree on a folder
    folder = Path(from_rank_0(str(run.checkpoints)))
    trainer = AsrTrainer(
        recognizer.model,
        loader(batches, collator, config.train.num_workers),
        lambda: _validate(planned),
        config.train,
        folder=folder,
        seed=config.run.seed,
        callbacks=[
            Recording(run),
            DropBrokenUpdates(run),
            KeepBest(
                folder / BEST, recognizer.save, config.train.patience, config.train.min_delta, config.train.choose_by
            ),
            SaveEvery(config.train.save_every),
            Telling(console, "training"),
        ],
    )
    checkpoint = last_checkpoint(folder)
    began, done = time.monotonic(), int(checkpoint.name.split("-")[1]) if checkpoint else 0
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    updates = int(trainer.state.global_step)
    seen = (updates - done) * config.train.batch_size * config.train.accumulate * world_size
    run.metrics({"perf/utterances_per_second": seen / (time.monotonic() - began)})
    if rank == 0:
        with written_whole("the final model", folder / "final"), trainer.as_kept():
            recognizer.save(folder / "final")
    return trainer.state


@torch.inference_mode()
def _validate(planned: Plan) -> Sums:
    """Loss and errors on this rank's share of the validation data, each utterance read once."""
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
    normalize = recognizer.normalizer
    heard = (cut for batch in order.batches for cut in batch)
    references = {cut.id: normalize(manifest.supervision(cut).text or "") for cut in heard}
    return count(loss, references, hypotheses, normalize)


def _conclude(planned: Plan, run: Recorder, clock: Clock, state: TrainerState, store: ModelStore) -> Trained:
    """Test the best epoch, log models, figures and the training log, register."""
    config, folder = planned.config, run.checkpoints
    best, kept = _best(planned, folder, store)
    figures = json.loads((folder / BEST / "best.json").read_text())
    run.metrics({"best/val_wer": figures["wer"], "best/val_cer": figures["cer"], "best/epoch": figures["epoch"]})
    tested = None
    chosen = {"val": planned.val.cuts} | {n: s.cuts for n, s in planned.splits.items() if n == "test"}
    for name, cuts in chosen.items():
        table = score(cuts, best.hypotheses(cuts), best.normalizer, in_phonemes=config.data.phonemes)
        tested = record_scores(run, table, name, f"{run.name} on {name}", step=int(state.global_step) + 1)
    size = sum(file.stat().st_size for file in kept.glob("*.safetensors"))
    run.metrics(
        {
            "model/size_mb": size / 1e6,
            "perf/seconds": clock.seconds,
            "perf/peak_memory_mb": clock.peak_memory_mb(),
        }
    )
    run.file(folder / "final")
    run.text(json.dumps(state.log_history, indent=1), "training_log.json")
    model = RegisteredModel(
        name=config.run.register_as or config.recipe,
        files={"model": kept},
        tags={"asr_lab.family": config.recipe, "asr_lab.val_wer": f"{figures['wer']:.4f}"},
    )
    uri = run.model(model, register=bool(config.run.register_as))
    test = tested if "test" in planned.splits else None
    found = f", test/wer {test.value:.1%} ({test.low:.1%} to {test.high:.1%})" if test else ""
    run.note(f"best epoch {figures['epoch']:.0f}: val/wer {figures['wer']:.1%}{found}; {uri}")
    return Trained(run.run_id, run.name, uri, figures["wer"], test, clock.seconds, state.log_history)


def _best(planned: Plan, folder: Path, store: ModelStore) -> tuple[Recognizer, Path]:
    """The recogniser of the best epoch, and its folder as it is kept: as one plain model where that is asked for."""
    best = load_model(folder / BEST, store.resolve)
    if not (isinstance(best, Wav2Vec2Recognizer) and planned.merges):
        return best, folder / BEST
    best.merge()
    with written_whole("the merged model", folder / "merged"):
        best.save(folder / "merged")
    return best, folder / "merged"
