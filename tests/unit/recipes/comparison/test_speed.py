"""Speed and memory of a model beside another."""

import time

import numpy as np

from asr_lab.recipes.comparison.speed import speeds, with_memory


class Slow:
    """Recognises nothing, in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.heard = seconds, 0

    def logits(self, batch):
        self.heard += 1
        time.sleep(self.seconds)
        return (batch,)

    def decode(self, batch):
        return []


def test_speed_is_a_share_of_what_runs_beside():
    base, other = Slow(0.004), Slow(0.008)
    found = speeds(base, {"other": other}, [{}, {}], rounds=5)
    assert 0.4 < found["other"].share < 0.62
    assert found["other"].low <= found["other"].share <= found["other"].high
    assert base.heard == other.heard == 2 * 6  # a round before is not counted


def test_memory_is_what_is_taken_beside_what_there_was():
    held = np.ones(10_000_000)
    made, most = with_memory(lambda: np.ones(5_000_000))
    assert len(made) == 5_000_000
    assert 35 < most < 60
    assert len(held) == 10_000_000
