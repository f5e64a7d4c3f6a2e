"""Slices, confusions and resampling of a scored corpus."""

import numpy as np
import pytest
from mlflow.utils.validation import _validate_metric_name

from asr_lab.metrics import error_rates, significance
from asr_lab.metrics.catalog import in_a_name
from asr_lab.metrics.significance import difference_interval, rate_interval
from asr_lab.metrics.slices import labels, slices


def test_every_utterance_is_in_one_bin(scored):
    by = labels(scored)
    assert list(by["age"]) == ["0-6", "7-9", "10-12", "26-40"]
    assert list(by["snr"]) == ["below 5", "10-15", "25+", "5-10"]
    assert list(by["duration"]) == ["0-2", "2-4", "4-6", "15+"]
    assert list(by["gender"]) == ["female", "male", "unknown", "male"]
    assert "speaker" not in by  # there is none


def test_slices_add_up_to_the_whole(scored):
    found = slices(scored)
    for _, part in found.groupby("slice"):
        assert part["errors"].sum() == error_rates.word_errors(scored).sum()
        assert part["words"].sum() == scored["words"].sum()
    male = found[(found["slice"] == "gender") & (found["value"] == "male")].iloc[0]
    assert (male["utterances"], male["errors"], male["words"]) == (2, 4, 6)
    assert male["wer"] == pytest.approx(4 / 6)
    assert male["low"] <= male["wer"] <= male["high"]
    assert found["few"].all()


def test_bins_are_in_the_order_of_their_bounds(scored):
    assert list(slices(scored).query("slice == 'snr'")["value"]) == ["below 5", "5-10", "10-15", "25+"]
    assert list(slices(scored).query("slice == 'gender'")["value"]) == ["female", "male", "unknown"]


@pytest.mark.parametrize(
    "values", [["서울", "부산"], ["a/b", "a:b"], [".", ".."], ["41+", "41_up+"], ["a*b", "a?b"], ["0-6", "7-9"]]
)
def test_slices_have_names_of_their_own_that_mlflow_takes(values):
    names = [f"test/wer_by_x/{in_a_name(value)}" for value in values]
    assert len(set(names)) == 2
    for name in names:
        _validate_metric_name(name)


def test_a_corpus_without_slices_has_none():
    assert slices(error_rates.score({"a": "x"}, {"a": "x"})).empty


def test_confusions_count_every_error(scored):
    found = error_rates.confusions(scored)
    words = found[found["unit"] == "word"]
    assert words["count"].sum() == error_rates.word_errors(scored).sum()
    assert words["share"].sum() == pytest.approx(1)
    fog = words[words["hypothesis"] == "fog"].iloc[0]
    assert (fog["kind"], fog["reference"], fog["count"]) == ("substitute", "dog", 1)
    assert found[found["unit"] == "character"]["count"].sum() == error_rates.character_errors(scored).sum()


@pytest.mark.parametrize("number", [7, 300])
def test_both_ways_of_resampling_draw_the_same_distribution(number):
    draw = np.random.default_rng(0)
    words = draw.integers(3, 20, number)
    rows = np.stack([draw.binomial(words, 0.3), draw.binomial(words, 0.25), words], axis=1)
    one = significance._by_index(rows, 20_000, np.random.default_rng(1), 20)
    other = significance._by_distinct_rows(rows, 20_000, np.random.default_rng(2))
    for ours, theirs in ((one.mean(axis=0), other.mean(axis=0)), (one.std(axis=0), other.std(axis=0))):
        np.testing.assert_allclose(ours, theirs, rtol=0.03)
    np.testing.assert_allclose(np.cov(one.T), np.cov(other.T), rtol=0.1, atol=0.05 * np.cov(other.T).max())


def test_large_counts_do_not_run_into_each_other():
    words = np.full(40, 90_000)
    assert rate_interval(words // 3, words).value == pytest.approx(1 / 3)
    found = difference_interval(words // 3, words // 2, words)
    assert (found.low, found.high) == pytest.approx((1 / 6, 1 / 6), abs=1e-4)
