"""Trainer callbacks: recording, best checkpoint, early stopping, dropped updates, progress report."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from asr_lab.interfaces.tracking import Recorder
from asr_lab.system.distributed import from_rank_0, rank_and_world_size
from asr_lab.system.files import atomic_folder, explain_unwritable, restore_former, write_text
from asr_lab.system.terminal import Console

_LOGGED = {
    "loss": "train/loss",
    "learning_rate": "train/lr",
    "grad_norm": "grad_norm",
}
_VALIDATED = "eval_"
SAVE_EVERY_S = 480.0
"""With an update and the writing of the checkpoint, a kill costs ten minutes at most."""
_ASKED_EVERY = 10  # updates between two questions to rank 0


def _our_name(key: str) -> str:
    """Return our name of a Trainer metric, such as `val/wer` for `eval_wer`; "" if it is not logged."""
    return f"val/{key.removeprefix(_VALIDATED)}" if key.startswith(_VALIDATED) else _LOGGED.get(key, "")


class Curves:
    """The metric curves of a run.

    A resumed run repeats the updates after its last checkpoint: points up to `logged` (metric -> step) are skipped.
    """

    def __init__(self, recorder: Recorder, logged: Mapping[str, int] | None = None) -> None:
        self.recorder, self.logged = recorder, logged or {}

    def add(self, values: Mapping[str, float], step: int) -> None:
        new = {name: value for name, value in values.items() if name not in self.logged or step > self.logged[name]}
        if new:
            self.recorder.metrics(new, step=step)


class Recording(TrainerCallback):  # type: ignore[misc]
    """Logs Trainer's metrics under our names, and the duration of each epoch, on rank 0."""

    def __init__(self, curves: Curves) -> None:
        self.curves = curves
        self.began = 0.0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if state.is_world_process_zero:
            named = {_our_name(key): float(value) for key, value in logs.items() if _our_name(key)}
            self.curves.add(named, state.global_step)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self.curves.add({"epoch_time": time.monotonic() - self.began}, state.global_step)


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """Saves the model of the epoch with the best validation metric (ties: lower loss) to `folder`, atomically.

    An epoch with a NaN validation loss is never the best. Training stops after `patience` epochs without an improvement
    of more than `min_delta` over the last such improvement, so small improvements add up. The state is read from
    `folder`, so a resumed training continues from it.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Path], None],
        patience: int = 0,
        min_delta: float = 0.0,
        *,
        by: str = "wer",
        higher: bool = False,
    ) -> None:
        self.folder, self.save, self.patience, self.min_delta = folder, save, patience, min_delta
        self.by, self.sign = by, -1.0 if higher else 1.0

    @property
    def best(self) -> dict[str, float]:
        """Validation metrics and `epoch` of the best epoch so far; infinitely bad before the first."""
        restore_former(self.folder)
        return self._read_state(self.folder / "best.json")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        stop = False
        if state.is_world_process_zero:  # rank 0 decides for all ranks
            now = {key.removeprefix(_VALIDATED): value for key, value in metrics.items()} | {"epoch": state.epoch}
            if not math.isnan(now["loss"]) and self._rank(now) < self._rank(self.best):
                self._keep(now)
            stop = self.patience > 0 and self._epochs_without_progress(now) >= self.patience
        if from_rank_0(stop):
            control.should_training_stop = True

    def _rank(self, state: dict[str, float]) -> tuple[float, float]:
        return self.sign * state[self.by], state["loss"]

    def _epochs_without_progress(self, now: dict[str, float]) -> float:
        file = self.folder.parent / "progress.json"
        last = self._read_state(file)
        if self._rank(now)[0] < self._rank(last)[0] - self.min_delta:
            last = now
            write_text(file, json.dumps(now))
        return now["epoch"] - last["epoch"]

    def _keep(self, now: dict[str, float]) -> None:
        with explain_unwritable("the best model", self.folder), atomic_folder(self.folder, replaces=True) as written:
            self.save(written)
            (written / "best.json").write_text(json.dumps(now))

    def _read_state(self, file: Path) -> dict[str, float]:
        if not file.is_file():
            return {self.by: self.sign * math.inf, "loss": math.inf, "epoch": 0}
        content: dict[str, float] = json.loads(file.read_text())
        return content


class KeepEach(TrainerCallback):  # type: ignore[misc]
    """Several `KeepBest`, each with its own metric and folder (Trainer warns about two callbacks of one class)."""

    def __init__(self, keepers: list[KeepBest]) -> None:
        self.keepers = keepers

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        for keeper in self.keepers:
            keeper.on_evaluate(args, state, control, metrics)


class SaveEvery(TrainerCallback):  # type: ignore[misc]
    """Saves a checkpoint every `updates` updates, or `SAVE_EVERY_S` after the last one, beside those of epochs.

    None at the last update of an epoch: resuming there would skip the validation of that epoch.
    """

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.saved = math.inf

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._is_due(state.global_step) and not float(state.epoch).is_integer():
            control.should_save = True

    def _is_due(self, update: int) -> bool:
        if self.updates:
            return update % self.updates == 0
        if rank_and_world_size()[1] > 1 and update % _ASKED_EVERY:
            return False
        return from_rank_0(time.monotonic() - self.saved >= SAVE_EVERY_S)


class DropBrokenUpdates(TrainerCallback):  # type: ignore[misc]
    """Drops updates whose gradients are not finite, and logs their number."""

    def __init__(self, curves: Curves) -> None:
        self.curves = curves
        self.dropped = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if gradients and not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            for parameter in model.parameters():
                parameter.grad = None
            self.dropped += 1
            if state.is_world_process_zero:
                self.curves.add({"train/dropped_updates": self.dropped}, state.global_step)


class ProgressReport(TrainerCallback):  # type: ignore[misc]
    """Prints one line per epoch, and a live progress bar on a terminal."""

    def __init__(self, console: Console, what: str) -> None:
        self.console, self.what = console, what
        self.status: Any = None
        self.began = self.loss = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()
        if state.is_world_process_zero and self.console.is_terminal:
            self.status = self.console.status(self.what)
            self.status.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.status:
            share = state.global_step / max(state.max_steps, 1)
            done = round(24 * share)
            bar = "\u2501" * done + "\u2500" * (24 - done)
            self.status.update(f"{self.what} {bar} {share:4.0%}  update {state.global_step} of {state.max_steps}")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        self.loss = logs.get("loss", self.loss)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        self._quiet()
        if state.is_world_process_zero:
            rates = [f"{_our_name(key)} {value:.1%}" for key, value in metrics.items() if key != "eval_loss"]
            self.console.print(
                f"  epoch {state.epoch:.0f}/{args.num_train_epochs:.0f}  train/loss {self.loss:.3f}  "
                f"val/loss {metrics['eval_loss']:.3f}  {'  '.join(rates)}  {time.monotonic() - self.began:.1f} s",
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._quiet()

    def _quiet(self) -> None:
        if self.status:
            self.status.stop()
            self.status = None
