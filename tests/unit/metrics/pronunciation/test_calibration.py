"""Fusion and calibration: better than the parts, true to what came true, monotone, and kept as JSON."""

import json

import numpy as np
import pytest
from made_l2 import at_random, by_hand

from asr_lab.errors import AsrLabError
from asr_lab.metrics.pronunciation import (
    Calibration,
    Fusion,
    calibrate,
    calibration_error,
    fit_fusion,
    fused,
    overall,
    scored,
)
from asr_lab.metrics.pronunciation.detection import ranking


@pytest.fixture(scope="module")
def validation():
    return at_random(200, seed=1, skill=0.6).assign(gop=lambda table: [np.exp(row).tolist() for row in table["gop"]])


@pytest.fixture(scope="module")
def test_set():
    return at_random(300, seed=2, skill=0.6).assign(gop=lambda table: [np.exp(row).tolist() for row in table["gop"]])


def test_the_fusion_of_independent_scores_ranks_better_than_each(validation, test_set):
    fusion = fit_fusion(validation)
    both = ranking(fused(test_set, fusion), "fused")["pr_auc"]
    assert both > max(ranking(test_set, column)["pr_auc"] for column in ("error_score", "gop")) + 0.05
    kept = Fusion.from_json(json.loads(json.dumps(fusion.to_json())))
    assert fused(test_set, kept)["fused"].tolist() == fused(test_set, fusion)["fused"].tolist()


def test_scores_of_a_certain_model_stay_finite():
    table = by_hand().assign(
        error_score=[[1.0, 0.0, 0.0, 1.0, 0.0], [0.0] * 3], gop=[[900.0, 0.0, 0.0, 3.0, 0.0], [0.0] * 3]
    )
    assert np.isfinite(np.concatenate(list(fused(table, fit_fusion(table))["fused"]))).all()
    assert np.isfinite(calibrate(table).scores([0.0, 1.0])).all()


def test_scores_come_true(validation, test_set):
    skewed = [table.assign(error_score=[[one**0.4 for one in row] for row in table["error_score"]])
              for table in (validation, test_set)]  # fmt: skip
    calibration = calibrate(skewed[0])
    as_it_is = Calibration("error_score", -1.0, 0.0, "right", 0)
    assert calibration_error(skewed[1], calibration) < 3 < calibration_error(skewed[1], as_it_is)
    points = calibration.scores(np.linspace(0, 1, 50))
    assert (np.diff(points) <= 0).all()
    assert points.min() >= 0
    assert points.max() <= 100
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_scores_may_be_those_of_experts():
    draw = np.random.default_rng(0)
    table = at_random(100).assign(
        phone_scores=lambda table: [np.clip(2 - 2 * np.array(row) + draw.normal(0, 0.1, len(row)), 0, 2).tolist()
                                    for row in table["error_score"]]
    )  # fmt: skip
    calibration = calibrate(table, target="experts")
    told = np.concatenate([calibration.scores(row) for row in table["error_score"]])
    assert np.corrcoef(told, np.concatenate(list(table["phone_scores"])))[0, 1] > 0.9
    assert abs(told.mean() - 50 * np.concatenate(list(table["phone_scores"])).mean()) < 2
    assert "experts" in calibration.meaning


def test_words_and_utterances_are_means_of_their_phonemes():
    table = scored(by_hand(), Calibration("error_score", -1.0, 0.0, "right", 8))
    # error scores .9 .2 | .6 .4 .1 and .3 | .1 .5
    assert table["phone_points"][0] == pytest.approx([10, 80, 40, 60, 90])
    assert table["word_points"][0] == pytest.approx([45, 190 / 3])
    assert table["word_points"][1] == pytest.approx([70, 70])
    assert table["points"].tolist() == pytest.approx([56, 70])
    assert overall(table) == pytest.approx((280 + 210) / 8)


def test_nothing_is_fitted_to_data_without_errors():
    table = by_hand().assign(errors=[[0] * 5, [0] * 3], gop=[[1.0] * 5, [1.0] * 3])
    for fit in (calibrate, fit_fusion):
        with pytest.raises(AsrLabError, match="validation data"):
            fit(table)


def test_scores_that_say_the_contrary_say_nothing():
    table = at_random(50).assign(error_score=lambda table: [[1 - one for one in row] for row in table["error_score"]])
    points = calibrate(table).scores([0.1, 0.9])
    assert points[0] == points[1] == pytest.approx(100 * (1 - np.concatenate(list(table["errors"])).mean()))
