"""Error rates by hand."""

import numpy as np
import pytest

from asr_lab.metrics import error_rates


def test_counts_by_hand():
    table = error_rates.score(
        {"a": "one two three", "b": "four five", "c": "six"},
        {"a": "one too three four", "b": "five", "c": "six"},
    )
    assert table["substitutions"].tolist() == [1, 0, 0]
    assert table["insertions"].tolist() == [1, 0, 0]
    assert table["deletions"].tolist() == [0, 1, 0]
    assert table["words"].tolist() == [3, 2, 1]
    assert error_rates.wer(table) == pytest.approx(3 / 6)


def test_the_rate_is_of_the_corpus_not_the_mean_of_utterances():
    table = error_rates.score({"a": "x", "b": "a b c d e f g h i"}, {"a": "y", "b": "a b c d e f g h i"})
    assert error_rates.wer(table) == pytest.approx(0.1)


def test_characters_count_spaces():
    table = error_rates.score({"a": "ab cd"}, {"a": "abcd"})
    assert error_rates.cer(table) == pytest.approx(1 / 5)


def test_korean_syllables_are_characters():
    table = error_rates.score({"a": "학교에 갔다"}, {"a": "학교에 간다"})
    assert error_rates.cer(table) == pytest.approx(1 / 6)
    assert error_rates.wer(table) == pytest.approx(1 / 2)


def test_a_missing_hypothesis_counts_as_nothing_recognised():
    assert error_rates.wer(error_rates.score({"a": "one two"}, {})) == 1.0


def test_an_empty_corpus_is_not_a_number():
    assert np.isnan(error_rates.wer(error_rates.score({}, {})))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("a b c", "a b c", [0, 0, 0]),
        ("a b c", "a x c", [0, 1, 0]),
        ("a b c", "z a b c q", [1, 0, 1]),
        ("a b c", "", [1, 1, 1]),
    ],
)
def test_errors_by_word_add_up(reference, hypothesis, errors):
    assert error_rates.errors_by_word(reference, hypothesis) == errors
    table = error_rates.score({"x": reference}, {"x": hypothesis})
    assert sum(errors) == error_rates.word_errors(table).sum()


def test_alignment_pairs_references_with_hypotheses():
    pairs = error_rates.alignment("a b c", "a x c d")
    assert pairs == [("equal", "a", "a"), ("substitute", "b", "x"), ("equal", "c", "c"), ("insert", "", "d")]
