"""transformers' Trainer, fed by Lhotse's sampler, with what silently goes wrong by default set right.

The loader is handed over unprepared (accelerate would shard it twice), validation sums over ranks instead of
averaging batches, and a checkpoint counts only once it is marked whole.
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
from asr_lab.data.batches import NOT_FOR_THE_MODEL, Indices
from asr_lab.metrics import error_rates
from asr_lab.system.files import explain_unwritable
from asr_lab.system.threads import go_on_with
from asr_lab.training.ema import WeightAverage

WHOLE = "COMPLETE"  # the marker file that ends a checkpoint
THREADS = "threads"  # how many computed it
_GROUPS = 2  # of Trainer's optimiser: with weight decay and without

logging.getLogger("accelerate").setLevel(logging.ERROR)


class Tally(Protocol):
    """What a rank counted on its share of the validation data, as numbers that add up over ranks."""

    def numbers(self) -> list[float]: ...

    @classmethod
    def of(cls, numbers: list[float]) -> Self:
        """The tally of the whole, of the summed numbers of all ranks."""

    def metrics(self) -> dict[str, float]:
        """Figures as `eval_<name>`, `eval_loss` among them, in the order in which they are told."""


@dataclass(frozen=True)
class Sums:
    """The tally of a recogniser of text."""

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
        """`eval_loss` (mean over utterances), `eval_wer`, `eval_cer` of the whole; `eval_per` if phonemes counted."""
        found = {
            "eval_loss": self.loss / max(self.utterances, 1),
            "eval_wer": self.word_errors / max(self.words, 1),
            "eval_cer": self.character_errors / max(self.characters, 1),
        }
        return found | ({"eval_per": self.phoneme_errors / self.phonemes} if self.phonemes else {})


def count(loss: float, table: pd.DataFrame) -> Sums:
    """The sums of one share: `loss`, summed over its utterances, and a score table, with or without phonemes."""
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
    """Updates of `total` that are spent warming up."""
    return min(settings.warmup_steps, total // 2) or round(total * settings.warmup_share)


def schedule(optimizer: Any, total: int, settings: Loop) -> LambdaLR:
    """The learning rate over `total` updates as the settings ask for it."""
    if settings.schedule == "tri_stage":
        return LambdaLR(optimizer, lambda step: tri_stage(step, total, settings))
    warmup = max(1, warmup_steps(total, settings))
    made: LambdaLR = get_scheduler(settings.schedule, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    return made


class AsrTrainer(Trainer):  # type: ignore[misc]
    """Trains `model` on the batches of `loader`.

    `validate` counts this rank's share of the validation data; None: there is none, and nothing is chosen on it.
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
            eval_dataset=Indices(),
            data_collator=lambda rows: rows,
            callbacks=[*([self.average] if self.average else []), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        assert not self.model_accepts_loss_kwargs  # else accumulation would multiply the gradient

    def go_on(self, checkpoint: Path | None) -> None:
        """Train from a checkpoint, or from the start; a training that had stopped by then stays as it is."""
        if checkpoint and (epochs := _stopped_after(checkpoint)):
            self.args.num_train_epochs = epochs
        if checkpoint and (threads := checkpoint / THREADS).is_file():  # older ones have none
            go_on_with(int(threads.read_text()))
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self.loader

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        outputs = model(**{key: value for key, value in inputs.items() if key not in NOT_FOR_THE_MODEL})
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def create_optimizer(self, *arguments: Any) -> Any:
        """Trainer's optimiser; what `settings.encoder_lr` is for learns at that rate."""
        optimizer = super().create_optimizer(*arguments)
        if isinstance(self.settings, PronunciationTrain) and len(optimizer.param_groups) == _GROUPS:
            give_a_rate_of_its_own(optimizer, self.model.encoder, self.settings.encoder_lr)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        if self.lr_scheduler is None:
            self.lr_scheduler = schedule(optimizer or self.optimizer, num_training_steps, self.settings)
            self._created_lr_scheduler = True
        scheduler: LambdaLR = self.lr_scheduler
        return scheduler

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Corpus figures over all ranks, logged and told to the callbacks as `eval_*`."""
        model = self.accelerator.unwrap_model(self.model)
        agree_on_statistics(model)
        with self.as_kept():
            return self._validated(model)

    def as_kept(self) -> AbstractContextManager[None]:
        """Within it the model has the weights that are validated and kept: their average, where there is one."""
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
                (folder / WHOLE).touch()


def give_a_rate_of_its_own(optimizer: Any, part: nn.Module, lr: float) -> None:
    """Put the parameters of a part of the model into groups of their own, behind those there are."""
    own = {id(parameter) for parameter in part.parameters()}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in own]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
        optimizer.add_param_group({**group, "params": moved, "lr": lr})


def agree_on_statistics(model: nn.Module) -> None:
    """Give all ranks the mean of their batch norms' running statistics, so that they validate and keep one model."""
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
    """Trainer's arguments for our settings; everything that reports or reorders by itself is off."""
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
    """Epochs after which a checkpoint's training had stopped; 0: it had not. Trainer forgets it where it goes on."""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    control = state.stateful_callbacks.get(TrainerControl.__name__, {})
    return round(state.epoch) if control.get("args", {}).get("should_training_stop") else 0


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    marked = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max(marked, key=lambda path: int(path.name.split("-")[1]), default=None)
