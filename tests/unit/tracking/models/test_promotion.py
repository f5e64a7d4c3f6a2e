"""What the gate decides from a difference and its interval."""

from __future__ import annotations

import pytest

from asr_lab.metrics.significance import Interval
from asr_lab.tracking.models.promotion import _decide


@pytest.mark.parametrize(
    ("low", "high", "margin", "num_differing", "passed", "said"),
    [
        (-0.2, -0.01, 0.0, 6, True, "significantly better"),
        (-0.2, -0.01, 0.0, 5, False, "only 5 utterances differ: too few to decide"),
        (-0.2, 0.01, 0.0, 50, False, "not significantly better"),
        (-0.2, 0.005, 0.01, 2, True, "not worse by 1.0% or more"),
        (-0.2, 0.02, 0.01, 50, False, "it may be worse by 1.0% or more"),
    ],
)
def test_the_gate_asks_for_an_interval_and_for_enough_that_differs(low, high, margin, num_differing, passed, said):
    decided, reason = _decide(Interval(-0.1, low, high, 0.04), margin, num_differing)
    assert decided is passed
    assert said in reason
    # of a figure of which more is better, the same on the other side
    decided, reason = _decide(Interval(0.1, -high, -low, 0.04), margin, num_differing, higher=True)
    assert decided is passed
    assert said in reason
