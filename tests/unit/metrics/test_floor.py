"""No model becomes champion by itself that is not shown to beat one that outputs nothing."""

import math

import pytest

from asr_lab.metrics.floor import why_below


@pytest.mark.parametrize(
    "metrics",
    [
        {"val/wer": 1.0},
        {"val/wer": 1.7, "val/wer_low": 1.2, "val/wer_high": 2.0},
        {"val/wer": 0.9, "val/wer_low": 0.7, "val/wer_high": 1.05},
        {"val/wer": 0.2, "val/wer_high": 0.3, "test/wer": 1.0, "test/wer_high": 1.0},
        {"val/wer": math.nan},
        {"val/per": 1.0},
        {"test/wer": 1.2, "test/wer_high": 1.3, "test/per": 0.95},
        {"val/error_f1": 0.0, "val/per": 0.2, "val/trivial/per": 0.15},
        {"val/error_f1": 0.0, "val/per": 1.0},
        {"test/error_f1": 0.5, "test/error_f1_low": 0.3, "test/flag_all/error_f1": 0.35, "test/trivial/error_f1": 0.0},
        {"test/error_f1": math.nan, "test/trivial/error_f1": 0.0},
    ],
)
def test_below(metrics):
    name = next(iter(name for name in metrics if name.startswith("test/")), next(iter(metrics)))
    assert why_below(metrics).startswith(name.replace("flag_all/", ""))


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"model/size_mb": 3.0},
        {"val/wer": 0.9, "val/wer_low": 0.8, "val/wer_high": 0.99},
        {"val/wer": 1.2, "test/wer": 0.5},
        {"val/per": 0.6},
        {"test/error_f1": 0.1, "test/flag_all/error_f1": 0.35, "test/per": 0.1, "test/trivial/per": 0.15},
        {"test/error_f1": 0.5, "test/error_f1_low": 0.4, "test/per": 1.0, "test/trivial/per": 0.15},
        {"test/error_f1": 0.5, "test/error_f1_low": 0.4, "test/flag_all/error_f1": 0.35},
    ],
)
def test_above(metrics):
    assert why_below(metrics) == ""
