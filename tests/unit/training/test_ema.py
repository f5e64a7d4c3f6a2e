"""The moving average of weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from asr_lab.training.ema import WeightAverage


def at(step, folder="."):
    return {
        "args": SimpleNamespace(output_dir=str(folder)),
        "state": SimpleNamespace(global_step=step),
        "control": None,
    }


def set_to(model, value):
    with torch.no_grad():
        model.weight.fill_(value)


@pytest.fixture
def model():
    made = nn.Linear(2, 2)
    made.bias.requires_grad_(False)
    set_to(made, 1.0)
    return made


def test_it_follows_by_the_published_rule(model):
    average = WeightAverage(0.9)
    average.on_train_begin(**at(0), model=model)
    expected = 1.0
    for step in range(1, 200):
        set_to(model, float(step))
        average.on_step_end(**at(step), model=model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.average["weight"] == pytest.approx(torch.full((2, 2), expected))
    assert set(average.average) == {"weight"}  # what does not learn is not averaged


def test_the_model_has_it_for_a_while(model):
    average = WeightAverage(0.9)
    average.on_train_begin(**at(0), model=model)
    set_to(model, 5.0)
    with average.in_place(model):
        assert model.weight.unique().item() == 1.0
    assert model.weight.unique().item() == 5.0
    assert model.weight.requires_grad


def test_a_resumed_training_takes_it_up(model, tmp_path):
    average = WeightAverage(0.9)
    average.on_train_begin(**at(0), model=model)
    set_to(model, 5.0)
    average.on_step_end(**at(1), model=model)
    (tmp_path / "checkpoint-1").mkdir()
    average.save(tmp_path / "checkpoint-1")
    again = WeightAverage(0.9)
    again.on_train_begin(**at(1, tmp_path), model=model)
    assert torch.equal(again.average["weight"], average.average["weight"])
