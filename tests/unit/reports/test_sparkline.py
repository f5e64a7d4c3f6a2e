"""Curves as text."""

import math

from asr_lab.reports.sparkline import sparkline


def test_a_sparkline_goes_from_the_smallest_to_the_largest():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([1, math.nan, 2]) == "▁ █"
    assert sparkline([]) == ""
    assert len(sparkline(range(1000), width=40)) == 40
    assert sparkline([1, math.inf, 0]) == "█ ▁"
