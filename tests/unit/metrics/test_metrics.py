"""Error rates by hand, and intervals against brute force."""

import numpy as np
import pytest

from asr_lab.families import FAMILIES
from asr_lab.metrics import error_rates
from asr_lab.metrics.catalog import METRICS, direction
from asr_lab.metrics.significance import difference_interval, differing, holm, rate_interval


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


@pytest.fixture
def counts():
    rng = np.random.default_rng(3)
    lengths = rng.integers(2, 12, 120)
    return rng.binomial(lengths, 0.3), rng.binomial(lengths, 0.2), lengths


def test_interval_equals_resampling_utterances_one_by_one(counts):
    errors, _, lengths = counts
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(errors), (4000, len(errors)))
    rates = errors[drawn].sum(1) / lengths[drawn].sum(1)
    ours = rate_interval(errors, lengths)
    assert ours.value == pytest.approx(errors.sum() / lengths.sum())
    assert ours.low == pytest.approx(np.quantile(rates, 0.025), abs=0.004)
    assert ours.high == pytest.approx(np.quantile(rates, 0.975), abs=0.004)


def test_paired_difference_equals_resampling_one_by_one(counts):
    a, b, lengths = counts
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(a), (4000, len(a)))
    differences = (b[drawn].sum(1) - a[drawn].sum(1)) / lengths[drawn].sum(1)
    ours = difference_interval(a, b, lengths)
    assert ours.low == pytest.approx(np.quantile(differences, 0.025), abs=0.004)
    assert ours.high == pytest.approx(np.quantile(differences, 0.975), abs=0.004)
    assert ours.excludes_zero
    assert ours.p < 0.01


def test_no_difference_is_not_significant(counts):
    a, _, lengths = counts
    same = difference_interval(a, a, lengths)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero
    assert same.p == 1.0


def test_p_goes_on_falling_where_no_resample_shows_it():
    lengths, better = np.full(500, 10), np.zeros(500, dtype=int)
    better[:50] = 1
    p = [difference_interval(better, np.roll(better, 50) * 2 + more, lengths).p for more in (1, 2, 3)]
    assert 0 <= p[2] <= p[1] <= p[0] < 1e-6


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    lengths = np.full(200, 5)
    covered = 0
    for trial in range(100):
        interval = rate_interval(rng.binomial(5, 0.25, 200), lengths, resamples=1000, seed=trial)
        covered += interval.low <= 0.25 <= interval.high
    assert covered >= 88


def test_directions():
    assert direction("val/wer") == "lower"
    assert direction("val/wer_by_age/5") == "lower"
    assert direction("model/params") == "neither"
    for name in [name for one in FAMILIES.values() for name in (*one.decides, *one.shows)]:
        assert name in METRICS
    for one in FAMILIES.values():
        assert set(one.logs) | set(one.card.figures if one.card else ()) <= set(METRICS)


def test_holm_corrects_as_published():
    """Holm's step-down: the smallest of four times 4, the next times 3, never below one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("num_differing", "least"), [(0, 1.0), (1, 1.0), (4, 0.125), (5, 0.0625), (6, 0.0)])
def test_few_utterances_that_differ_are_never_significant(num_differing, least):
    lengths = np.full(40, 10)
    before, after = np.full(40, 3), np.full(40, 3)
    after[:num_differing] -= 3
    assert differing(before, after) == num_differing
    found = difference_interval(before, after, lengths)
    assert found.p >= least
    assert (found.p < 0.05) == (num_differing >= 6)
