"""Intervals and differences against brute force."""

import numpy as np
import pytest

from asr_lab.metrics.significance import difference_interval, differing, holm, rate_interval


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
