"""Keeping the best, patience, and dropping broken updates."""

import json
from types import SimpleNamespace

import torch

from asr_lab.interfaces.in_memory import MemoryTracker
from asr_lab.training.callbacks import Curves, DropBrokenUpdates, KeepBest


def evaluated(keeper: KeepBest, epoch: int, wer: float, loss: float = 1.0, cer: float = 0.1) -> bool:
    control = SimpleNamespace(should_training_stop=False)
    state = SimpleNamespace(epoch=epoch, is_world_process_zero=True)
    keeper.on_evaluate(None, state, control, {"eval_wer": wer, "eval_cer": cer, "eval_loss": loss})
    return control.should_training_stop


def test_the_best_is_kept_and_patience_ends_training(tmp_path):
    saved = []
    keeper = KeepBest(tmp_path / "best", lambda folder: saved.append((folder / "w").write_text("x")), patience=2)
    assert not evaluated(keeper, 1, 0.5)
    assert not evaluated(keeper, 2, 0.4)
    assert not evaluated(keeper, 3, 0.45)
    assert evaluated(keeper, 4, 0.4)
    assert len(saved) == 2
    assert json.loads((tmp_path / "best" / "best.json").read_text())["epoch"] == 2
    again = KeepBest(tmp_path / "best", lambda folder: saved.append(0), patience=2)
    evaluated(again, 5, 0.45)
    assert len(saved) == 2  # a resumed training knows its best


def test_the_best_may_be_that_of_the_characters(tmp_path):
    keeper = KeepBest(tmp_path / "best", lambda folder: None, patience=2, by="cer")
    assert not evaluated(keeper, 1, wer=0.97, cer=0.9)  # says next to nothing
    assert not evaluated(keeper, 2, wer=1.02, cer=0.6)
    assert not evaluated(keeper, 3, wer=0.96, cer=0.7)
    assert keeper.best["epoch"] == 2
    assert evaluated(keeper, 4, wer=0.95, cer=0.65)


def test_an_update_that_is_not_a_number_is_dropped_and_counted(tmp_path):
    model = torch.nn.Linear(2, 1)
    run = MemoryTracker(tmp_path).start(SimpleNamespace(name="x", params={}, tags={}, watcher=None))
    guard = DropBrokenUpdates(Curves(run))
    state = SimpleNamespace(is_world_process_zero=True, global_step=3)
    model.weight.grad = torch.tensor([[1.0, float("nan")]])
    guard.on_pre_optimizer_step(None, state, None, model=model)
    assert model.weight.grad is None
    assert run.all_metrics["train/dropped_updates"] == [(3, 1)]
    model.weight.grad = torch.tensor([[1.0, 2.0]])
    guard.on_pre_optimizer_step(None, state, None, model=model)
    assert model.weight.grad is not None
