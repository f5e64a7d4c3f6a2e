"""The training loop shared by all recipes: begin a run, and train from its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from transformers import TrainerCallback, TrainerState

from asr_lab.data.batches import EpochBatches, loader
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import Recorder
from asr_lab.recipes.recognition.plan import TrainingPlan
from asr_lab.system.distributed import connect_processes, from_rank_0, rank_and_world_size
from asr_lab.system.files import atomic_folder, explain_unwritable
from asr_lab.system.terminal import Console
from asr_lab.training.callbacks import Curves, DropBrokenUpdates, ProgressReport, Recording, SaveEvery
from asr_lab.training.trainer import AsrTrainer, Tally, last_checkpoint
from asr_lab.units import counted

BEST = "model"
"""Folder of the best epoch among the checkpoints, and the model's name in the logged artifacts."""


def begin(planned: TrainingPlan, run: Recorder, console: Console) -> None:
    """Print what is trained, and record data and sizes."""
    doing = "continuing" if run.resumed else "fine-tuning" if planned.base_uri else "training"
    sizes = f"{planned.num_params / 1e6:.2f} M parameters, {counted(len(planned.train.cuts), 'utterance')}"
    console.say("{} [bold]{}[/]: {}, {} min", doing, run.name, sizes, f"{planned.splits['train'].hours * 60:.1f}")
    for split in planned.splits.values():
        run.dataset(split.dataset())
    run.metrics(planned.sizes)


def fit(
    planned: TrainingPlan,
    run: Recorder,
    console: Console,
    validate: Callable[[], Tally],
    keepers: Callable[[Path], list[TrainerCallback]],
) -> TrainerState:
    """Train from the last checkpoint; return the final trainer state.

    `keepers` returns the callbacks that save the best epoch in the checkpoint folder.
    """
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
    connect_processes()  # to agree on a folder
    folder = Path(from_rank_0(str(run.checkpoints)))
    curves = Curves(run, run.last_steps())
    trainer = AsrTrainer(
        recognizer.model,
        loader(batches, collator, config.train.num_workers),
        validate,
        config.train,
        folder=folder,
        seed=config.run.seed,
        callbacks=[
            Recording(curves),
            DropBrokenUpdates(curves),
            ProgressReport(console, "training"),
            *keepers(folder),
            SaveEvery(config.train.save_every),
        ],
    )
    checkpoint = last_checkpoint(folder)
    began, done = time.monotonic(), int(checkpoint.name.split("-")[1]) if checkpoint else 0
    trainer.go_on(checkpoint)
    seen = (int(trainer.state.global_step) - done) * config.train.batch_size * config.train.accumulate * world_size
    if seen:  # else it was interrupted after its last update
        run.metrics({"perf/utterances_per_second": seen / (time.monotonic() - began)})
    if rank == 0:
        _check_best_epoch(folder, config.train.lr)
        final = folder / "final"
        with (
            explain_unwritable("the final model", final),
            trainer.averaged_weights(),
            atomic_folder(final, replaces=True) as written,
        ):
            recognizer.save(written)
    return trainer.state


def best_step(state: TrainerState, epoch: float) -> int:
    """Return the number of updates at the end of an epoch that was validated."""
    ends = (entry["step"] for entry in state.log_history if entry.get("epoch") == epoch and "eval_loss" in entry)
    return int(next(ends, state.global_step))


def _check_best_epoch(folder: Path, lr: float) -> None:
    """Raise `AsrLabError` if no epoch was saved as the best."""
    if not any(folder.glob("*/best.json")):
        raise AsrLabError(
            "the validation loss of every epoch is NaN: no model is saved",
            where=str(folder),
            allowed=f"a lower train.lr than {lr:g}, train.grad_clip, or a base whose weights are intact",
        )
