"""Curves and alignments as text."""

import math

import pytest

from asr_lab.reports.aligned_text import side_by_side
from asr_lab.reports.numbers import format_metric, format_value
from asr_lab.reports.sparkline import sparkline
from asr_lab.units import ago, all_of, counted, megabytes


def test_a_sparkline_goes_from_the_smallest_to_the_largest():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([1, math.nan, 2]) == "▁ █"
    assert sparkline([]) == ""
    assert len(sparkline(range(1000), width=40)) == 40
    assert sparkline([1, math.inf, 0]) == "█ ▁"


def lines(reference, *hypotheses):
    return [[cell.text for cell in line] for line in side_by_side(reference, hypotheses)]


def test_words_stand_under_words():
    assert lines("the cat sat", "the fog sat", "the cat") == [
        ["the", "cat", "sat"], ["the", "fog", "sat"], ["the", "cat", "***"]
    ]  # fmt: skip


def test_a_word_more_has_a_column_of_its_own():
    said, first, second = lines("a b", "a x b y", "a b z")
    assert said == ["a", "", "b", ""]
    assert first == ["a", "x", "b", "y"]
    assert second == ["a", "", "b", "z"]


def test_empty_reference_or_empty_hypothesis():
    assert lines("", "x", "") == [[""], ["x"], [""]]
    assert lines("a b", "", "a b") == [["a", "b"], ["***", "***"], ["a", "b"]]


def test_korean_takes_two_cells_a_syllable():
    said, heard = side_by_side("나는 간다", ["나 간다"])
    assert [cell.width for cell in said] == [4, 4]
    assert len(heard[0]) == 2


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


def test_ages_and_sizes():
    assert [ago(seconds) for seconds in (5, 65, 3 * 3600 + 5, 50 * 3600)] == ["now", "1 min ago", "3 h ago", "2 d ago"]
    assert [megabytes(size) for size in (900, 3_400_000, 1.2e9)] == ["1 kB", "3.4 MB", "1.2 GB"]
    assert megabytes(None) == megabytes(float("nan")) == "-"


def test_a_count_agrees_with_its_noun_and_its_verb():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [counted(1, "run", verb) for verb in ("are", "have", "lack")] == ["1 run is", "1 run has", "1 run lacks"]
    assert (counted(2, "run", "have"), all_of(2, "run"), all_of(1, "run")) == (
        "2 runs have",
        "all 2 runs",
        "the only run",
    )
    assert all_of(11, "run", "agree") == "all 11 runs agree"
