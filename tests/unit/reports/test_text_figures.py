"""Curves and alignments as text."""

import math

import pytest

from asr_lab.reports.numbers import number
from asr_lab.reports.side_by_side import side_by_side
from asr_lab.reports.spark import sparkline
from asr_lab.units import ago, megabytes


def test_a_sparkline_goes_from_the_smallest_to_the_largest():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([1, math.nan, 2]) == "▁ █"
    assert sparkline([]) == ""
    assert len(sparkline(range(1000), width=40)) == 40
    assert sparkline([1, math.inf, 0]) == "█ ▁"


def test_p_is_no_rate():
    assert number("test/wer_delta_p", 0.0002) == "< 0.001"
    assert number("p", 0.04) == "0.040"
    assert number("test/wer_delta", -0.1) == "-10.0%"


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


def test_nothing_said_or_nothing_heard():
    assert lines("", "x", "") == [[""], ["x"], [""]]
    assert lines("a b", "", "a b") == [["a", "b"], ["***", "***"], ["a", "b"]]


def test_korean_takes_two_cells_a_syllable():
    said, heard = side_by_side("나는 간다", ["나 간다"])
    assert [cell.width for cell in said] == [4, 4]
    assert len(heard[0]) == 2


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("test/wer", 0.123, "12.3%"),
        ("difference", -0.01, "-1.0%"),
        ("test/wer_delta", 0.01, "+1.0%"),
        ("perf/seconds", 12345.6, "12,346"),
        ("test/wer", math.nan, "-"),
        ("run", "a\x1b[31mb\n", "a [31mb "),
    ],
)
def test_figures_for_people(column, value, text):
    assert number(column, value) == text


def test_ages_and_sizes():
    assert [ago(seconds) for seconds in (5, 65, 3 * 3600 + 5, 50 * 3600)] == ["now", "1 min ago", "3 h ago", "2 d ago"]
    assert [megabytes(size) for size in (900, 3_400_000, 1.2e9)] == ["1 kB", "3.4 MB", "1.2 GB"]
    assert megabytes(None) == megabytes(float("nan")) == "-"
