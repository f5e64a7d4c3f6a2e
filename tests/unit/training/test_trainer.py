"""Schedules of the learning rate, and which checkpoint counts."""

import itertools
import math

import pytest
import torch

from asr_lab.config.schema import Train
from asr_lab.training.trainer import COMPLETE, last_checkpoint, schedule, tri_stage


def test_tri_stage_warms_up_holds_and_decays():
    settings = Train(warmup_share=0.1, hold_share=0.4, final_lr_scale=0.05)
    factor = [tri_stage(step, 100, settings) for step in range(101)]
    assert factor[0] == pytest.approx(0.01)
    assert factor[10] == factor[49] == 1.0
    assert factor[100] == pytest.approx(0.05)
    assert factor[75] == pytest.approx(math.sqrt(0.05))
    assert all(later <= earlier for earlier, later in itertools.pairwise(factor[50:]))


def test_only_a_checkpoint_that_is_marked_whole_counts(tmp_path):
    for step in (9, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-9" / COMPLETE).touch()
    (tmp_path / "checkpoint-10" / COMPLETE).touch()
    assert last_checkpoint(tmp_path).name == "checkpoint-10"


@pytest.mark.parametrize("name", ["tri_stage", "linear", "cosine", "inverse_sqrt"])
def test_schedules_warm_up_then_fall(name):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    plan = schedule(optimizer, 100, Train(schedule=name, warmup_share=0.1, hold_share=0.2))
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan.step()
    assert rates[0] < 0.2
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[-1] < 0.4
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(rates[30:]))


def test_the_constant_schedule_is_the_peak_throughout():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    plan = schedule(optimizer, 10, Train(schedule="constant"))
    for _ in range(10):
        assert optimizer.param_groups[0]["lr"] == 0.3
        optimizer.step()
        plan.step()
