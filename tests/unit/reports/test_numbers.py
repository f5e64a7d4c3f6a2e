"""Numbers as people read them."""

import math

import pytest

from asr_lab.reports.numbers import format_metric, format_value


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        (0.123, "percent", "12.3%"),
        (0.01, "change", "+1.0%"),
        (-0.01, "change", "-1.0%"),
        (0.0002, "p", "< 0.001"),
        (0.04, "p", "0.040"),
        (12345.6, "number", "12,346"),
        (0.25, "number", "0.25"),
        (3_400_000, "bytes", "3.4 MB"),
        (125.0, "duration", "2 min 05 s"),
        (math.nan, "percent", "-"),
        (None, "bytes", "-"),
        ("a\x1b[31mb\n", "number", r"a\u001b[31mb\n"),
    ],
)
def test_figures_for_people(value, how, text):
    assert format_value(value, how) == text


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("test/wer", "25.0%"),
        ("dev/wer_by_age/5", "25.0%"),
        ("test/wer_std", "25.0%"),
        ("test/wer_base", "25.0%"),
        ("test/wer_delta", "+25.0%"),
        ("test/wer_delta_low", "+25.0%"),
        ("test/wer_delta_std", "25.0%"),
        ("test/wer_delta_p", "0.250"),
        ("wer_delta_high", "+25.0%"),
        ("best/val_cer", "25.0%"),
        ("best/val_pr_auc", "0.25"),
        ("fold/wer", "25.0%"),
        ("legacy/token_accuracy", "25.0%"),
        ("test/over_gop/error_f1_low", "25.0%"),
        ("test/pr_auc_low", "0.25"),
        ("perf/speed_share_by_arm/lora", "25.0%"),
        ("perf/utterances_per_second", "0.25"),
        ("target wer", "0.25"),
        ("target_wer", "0.25"),
        ("model.mask_share", "0.25"),
        ("anything/high", "0.25"),
    ],
)
def test_a_metric_is_written_as_the_catalog_says_and_no_word_is_guessed_from(metric, text):
    assert format_metric(metric, 0.25) == text
