"""What the confidence of words is worth, and its calibration."""

import numpy as np
import pandas as pd
import pytest

from asr_lab.errors import AsrLabError
from asr_lab.metrics.word_confidence import Calibration, calibrate, calibration_error, ranking, right_words


def test_the_right_words_of_a_hypothesis():
    assert right_words("the cat sat", "the bat sat down") == [True, False, True, False]
    assert right_words("the cat", "") == []


def drawn(slope: float, intercept: float, words: int = 20_000) -> pd.DataFrame:
    """Words whose chance of being right is that of a known calibration."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.02, 0.98, words)
    return pd.DataFrame(
        {"confidence": confidence, "right": rng.uniform(size=words) < Calibration(slope, intercept)(confidence)}
    )


def test_a_known_calibration_is_recovered_and_has_no_error():
    words = drawn(0.5, 1.0)
    fitted = calibrate(words)
    assert (fitted.slope, fitted.intercept) == (pytest.approx(0.5, abs=0.05), pytest.approx(1.0, abs=0.05))
    calibrated = words.assign(confidence=fitted(words["confidence"]))
    assert calibration_error(calibrated) < 0.02 < calibration_error(words)
    assert ranking(calibrated) == pytest.approx(ranking(words))


@pytest.mark.parametrize("right", [[True, True], [False, False], []])
def test_words_of_one_kind_calibrate_nothing(right):
    words = pd.DataFrame({"confidence": [0.5] * len(right), "right": np.array(right, dtype=bool)})
    with pytest.raises(AsrLabError):
        calibrate(words)
    assert np.isnan(ranking(words))
