"""transformers' Trainer, with unsafe defaults replaced.

The loader is not prepared by accelerate (which would shard it twice), validation sums over ranks instead of averaging
batches, and a checkpoint is valid only once its marker file is written.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    get_scheduler,
)
from transformers.trainer import TRAINER_STATE_NAME

from asr_lab.config.schema import Loop, PronunciationTrain, Train
from asr_lab.data.batches import NOT_FOR_THE_MODEL
from asr_lab.metrics import error_rates
from asr_lab.system.files import explain_unwritable
from asr_lab.system.threads import restore_threads
from asr_lab.training.ema import WeightAverage

COMPLETE = "COMPLETE"  # the marker file that ends a checkpoint
THREADS = "threads"  # how many computed it
_GROUPS = 2  # of Trainer's optimiser: with weight decay and without

logging.getLogger("accelerate").setLevel(logging.ERROR)


class Tally(Protocol):
    """Counts of one rank on its share of the validation data, as numbers that add up over ranks."""

    def numbers(self) -> list[float]: ...

    @classmethod
    def of(cls, numbers: list[float]) -> Self:
        """Return the tally of all ranks from their summed numbers."""

    def metrics(self) -> dict[str, float]:
        """Return metrics as `eval_<name>`, including `eval_loss`, in display order."""


@dataclass(frozen=True)
class Sums:
    """The tally of a speech recogniser."""

    loss: float = 0.0
    utterances: float = 0
    word_errors: float = 0
    words: float = 0
    character_errors: float = 0
    characters: float = 0
    phoneme_errors: float = 0
    phonemes: float = 0

    def numbers(self) -> list[float]:
        return [float(value) for value in vars(self).values()]

    @classmethod
    def of(cls, numbers: list[float]) -> Self:
        return cls(*numbers)

    def metrics(self) -> dict[str, float]:
        """Return `eval_loss` (mean over utterances), `eval_wer`, `eval_cer`, and `eval_per` if there are phonemes."""
        metrics = {
            "eval_loss": self.loss / max(self.utterances, 1),
            "eval_wer": self.word_errors / max(self.words, 1),
            "eval_cer": self.character_errors / max(self.characters, 1),
        }
        return metrics | ({"eval_per": self.phoneme_errors / self.phonemes} if self.phonemes else {})


def count(loss: float, table: pd.DataFrame) -> Sums:
    """Return the tally of one rank from its `loss`, summed over utterances, and its score table."""
    in_phonemes = "phonemes" in table
    return Sums(
        loss=loss,
        utterances=len(table),
        word_errors=int(error_rates.word_errors(table).sum()),
        words=int(table["words"].sum()),
        character_errors=int(error_rates.character_errors(table).sum()),
        characters=int(table["characters"].sum()),
        phoneme_errors=int(error_rates.phoneme_errors(table).sum()) if in_phonemes else 0,
        phonemes=int(table["phonemes"].sum()) if in_phonemes else 0,
    )


def tri_stage(step: int, total: int, settings: Loop) -> float:
    """Factor of the peak learning rate at a step (Park et al. 2019, SpecAugment): warm up, hold, decay.

    Warm-up is linear from 1 % of the peak; the decay is exponential and ends at `final_lr_scale`.
    """
    warmup = warmup_steps(total, settings)
    hold_end = warmup + round(total * settings.hold_share)
    if step < warmup:
        return 0.01 + 0.99 * step / warmup
    if step < hold_end or total <= hold_end:
        return 1.0
    return float(settings.final_lr_scale ** min(1.0, (step - hold_end) / (total - hold_end)))


def warmup_steps(total: int, settings: Loop) -> int:
    """Return the number of warm-up updates."""
    return min(settings.warmup_steps, total // 2) or round(total * settings.warmup_share)


def schedule(optimizer: Any, total: int, settings: Loop) -> LambdaLR:
    """Return the learning rate schedule of the settings over `total` updates."""
    if settings.schedule == "tri_stage":
        return LambdaLR(optimizer, lambda step: tri_stage(step, total, settings))
    warmup = max(1, warmup_steps(total, settings))
    made: LambdaLR = get_scheduler(settings.schedule, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    return made


class AsrTrainer(Trainer):  # type: ignore[misc]
    """Trains `model` on the batches of `loader`.

    `validate` returns the tally of this rank's share of the validation data; None: no validation.
    """

    lr_scheduler: Any
    control: Any

    def __init__(
        self,
        model: nn.Module,
        loader: DataLoader[Any],
        validate: Callable[[], Tally] | None,
        settings: Loop,
        *,
        folder: Path,
        seed: int,
        callbacks: list[TrainerCallback],
        checkpoints: bool = True,
    ) -> None:
        self.loader, self.validate, self.settings = loader, validate, settings
        decay = settings.ema if isinstance(settings, Train) else 0.0
        self.average = WeightAverage(decay) if decay else None
        super().__init__(
            model=model,
            args=training_arguments(
                settings,
                folder=folder,
                seed=seed,
                batches=len(loader),
                validates=validate is not None,
                checkpoints=checkpoints,
            ),
            eval_dataset=loader.dataset,
            data_collator=lambda rows: rows,
            callbacks=[*([self.average] if self.average else []), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        assert not self.model_accepts_loss_kwargs  # else accumulation would multiply the gradient

    def go_on(self, checkpoint: Path | None) -> None:
        """Train from a checkpoint, or from the start; a training that had stopped early is not continued."""
        if checkpoint and (epochs := _stopped_after(checkpoint)):
            self.args.num_train_epochs = epochs
        if checkpoint and (threads := checkpoint / THREADS).is_file():  # older ones have none
            restore_threads(int(threads.read_text()))
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self.loader

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        outputs = model(**{key: value for key, value in inputs.items() if key not in NOT_FOR_THE_MODEL})
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def create_optimizer(self, *arguments: Any) -> Any:
        """Return Trainer's optimiser, with `settings.encoder_lr` for the encoder."""
        optimizer = super().create_optimizer(*arguments)
        if isinstance(self.settings, PronunciationTrain) and len(optimizer.param_groups) == _GROUPS:
            add_lr_group(optimizer, self.model.encoder, self.settings.encoder_lr)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        if self.lr_scheduler is None:
            self.lr_scheduler = schedule(optimizer or self.optimizer, num_training_steps, self.settings)
            self._created_lr_scheduler = True
        scheduler: LambdaLR = self.lr_scheduler
        return scheduler

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return corpus metrics over all ranks, logged and passed to the callbacks as `eval_*`."""
        model = self.accelerator.unwrap_model(self.model)
        average_statistics(model)
        with self.averaged_weights():
            return self._validated(model)

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Give the model the weights that are validated and saved within the context: the average, if there is one."""
        return self.average.in_place(self.accelerator.unwrap_model(self.model)) if self.average else nullcontext()

    def _validated(self, model: nn.Module) -> dict[str, float]:
        assert self.validate is not None
        model.eval()
        tally = self.validate()
        model.train()
        own = torch.tensor(tally.numbers(), dtype=torch.float64)
        total = self.accelerator.reduce(own.to(self.args.device), reduction="sum").tolist()
        metrics = type(tally).of(total).metrics()
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with explain_unwritable("the checkpoint", folder, removes=self.args.should_save):
            super()._save_checkpoint(model, trial)
            if self.average and self.args.should_save:
                self.average.save(folder)
            self.accelerator.wait_for_everyone()  # each rank writes a part of its own
            if self.args.should_save:
                (folder / THREADS).write_text(str(torch.get_num_threads()))
                (folder / COMPLETE).touch()


def add_lr_group(optimizer: Any, part: nn.Module, lr: float) -> None:
    """Move the parameters of a part of the model to new groups, at the end, with their own learning rate."""
    own = {id(parameter) for parameter in part.parameters()}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in own]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
        optimizer.add_param_group({**group, "params": moved, "lr": lr})


def average_statistics(model: nn.Module) -> None:
    """Average the running statistics of batch norm over ranks, so that all validate and save the same model."""
    if not torch.distributed.is_initialized():
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            torch.distributed.all_reduce(buffer)
            buffer /= torch.distributed.get_world_size()


def training_arguments(
    settings: Loop,
    *,
    folder: Path,
    seed: int,
    batches: int,
    validates: bool = True,
    checkpoints: bool = True,
) -> TrainingArguments:
    """Return Trainer's arguments for our settings; its own reporting and reordering are off."""
    gpu = torch.cuda.is_available()
    mixed = gpu and settings.mixed_precision == "auto"
    bf16 = mixed and torch.cuda.is_bf16_supported()
    updates = max(1, batches // settings.accumulate)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.grad_clip or math.inf,  # 0 would leave the norm out of the logs
        logging_steps=max(1, updates // 5),
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch" if checkpoints else "no",
        save_total_limit=2,
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        use_cpu=not gpu,
        bf16=bf16,
        fp16=mixed and not bf16,
        seed=seed,
        restore_callback_states_from_checkpoint=True,
    )


def _stopped_after(checkpoint: Path) -> int:
    """Return the epoch at which the training of a checkpoint stopped early, or 0. Trainer drops this on resuming."""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    control = state.stateful_callbacks.get(TrainerControl.__name__, {})
    return round(state.epoch) if control.get("args", {}).get("should_training_stop") else 0


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, or None."""
    marked = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(marked, key=lambda path: int(path.name.split("-")[1]), default=None)
