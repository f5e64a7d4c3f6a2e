"""What happens beside the loop: recording, keeping the best, stopping early, dropping broken updates, telling."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from transformers import TrainerCallback

from asr_lab.training.recorder import Recorder
from asr_lab.training.trainer import from_rank_0, written_whole

_LOGGED = {
    "loss": "train/loss",
    "learning_rate": "train/lr",
    "grad_norm": "grad_norm",
    "eval_loss": "val/loss",
    "eval_wer": "val/wer",
    "eval_cer": "val/cer",
}


class Recording(TrainerCallback):  # type: ignore[misc]
    """Trainer's logs under our metric names, and the time each epoch took; rank 0 alone."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.began = 0.0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if state.is_world_process_zero:
            named = {_LOGGED[key]: float(value) for key, value in logs.items() if key in _LOGGED}
            if named:
                self.recorder.metrics(named, step=state.global_step)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self.recorder.metrics({"epoch_time": time.monotonic() - self.began}, step=state.global_step)


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """The model of the epoch with the lowest validation WER or CER (ties: lower loss) in `folder`, written aside first.

    Stops training when `patience` epochs in a row brought nothing better by more than `min_delta`, counted from the
    last rate that did: small gains add up. What is best is told by the folder, so a resumed training goes on from it.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Path], None],
        patience: int = 0,
        min_delta: float = 0.0,
        by: Literal["wer", "cer"] = "wer",
    ) -> None:
        self.folder, self.save, self.patience, self.min_delta, self.by = folder, save, patience, min_delta, by

    @property
    def best(self) -> dict[str, float]:
        """`wer`, `cer`, `loss` and `epoch` of the best so far; infinite before the first."""
        old = self.folder.with_name(f".{self.folder.name}.old")
        if old.is_dir() and not self.folder.is_dir():  # killed between the two renames below
            old.rename(self.folder)
        return _read_state(self.folder / "best.json")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        stop = False
        if state.is_world_process_zero:  # it decides for all ranks
            now = {name: metrics[f"eval_{name}"] for name in ("wer", "cer", "loss")} | {"epoch": state.epoch}
            best = self.best
            if (now[self.by], now["loss"]) < (best[self.by], best["loss"]):
                self._keep(now)
            stop = self.patience > 0 and self._epochs_without_progress(now) >= self.patience
        if from_rank_0(stop):
            control.should_training_stop = True

    def _epochs_without_progress(self, now: dict[str, float]) -> float:
        file = self.folder.parent / "progress.json"
        last = _read_state(file)
        if now[self.by] < last[self.by] - self.min_delta:
            last = now
            write_aside(file, json.dumps(now))
        return now["epoch"] - last["epoch"]

    def _keep(self, now: dict[str, float]) -> None:
        aside = self.folder.with_name(f".{self.folder.name}.writing")
        shutil.rmtree(aside, ignore_errors=True)
        with written_whole("the best model", aside):
            aside.mkdir(parents=True)
            self.save(aside)
            (aside / "best.json").write_text(json.dumps(now))
        old = self.folder.with_name(f".{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.is_dir():
            self.folder.rename(old)  # never deleted before the better one stands in its place
        aside.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)


def _read_state(file: Path) -> dict[str, float]:
    if not file.is_file():
        return {"wer": math.inf, "cer": math.inf, "loss": math.inf, "epoch": 0}
    content: dict[str, float] = json.loads(file.read_text())
    return content


def write_aside(file: Path, content: str) -> None:
    """Write a small file aside, then rename it into its place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.writing")
    aside.write_text(content)
    aside.replace(file)


class SaveEvery(TrainerCallback):  # type: ignore[misc]
    """A checkpoint after every so many updates, besides those at epochs' ends."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.updates and state.global_step % self.updates == 0:
            control.should_save = True


class DropBrokenUpdates(TrainerCallback):  # type: ignore[misc]
    """An update whose gradients are not finite is dropped, counted and logged: one would destroy the weights."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.dropped = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if gradients and not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            for parameter in model.parameters():
                parameter.grad = None
            self.dropped += 1
            if state.is_world_process_zero:
                self.recorder.metrics({"train/dropped_updates": self.dropped}, step=state.global_step)


class Telling(TrainerCallback):  # type: ignore[misc]
    """A line an epoch, and a live bar between them where somebody looks on."""

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
            self.console.print(
                f"  epoch {state.epoch:.0f}/{args.num_train_epochs:.0f}  train/loss {self.loss:.3f}  "
                f"val/loss {metrics['eval_loss']:.3f}  val/wer {metrics['eval_wer']:.1%}  "
                f"val/cer {metrics['eval_cer']:.1%}  {time.monotonic() - self.began:.1f} s",
                highlight=False,
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._quiet()

    def _quiet(self) -> None:
        if self.status:
            self.status.stop()
            self.status = None
