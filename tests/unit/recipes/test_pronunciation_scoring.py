"""What is reported of a pronunciation model that has not learned."""

import pandas as pd
import pytest

from asr_lab.recipes.pronunciation.scoring import Assessed, not_learned

BASELINES = {"trivial/per": 0.2, "trivial/error_f1": 0.0, "flag_all/error_f1": 0.3}


@pytest.mark.parametrize(
    ("figures", "learned"),
    [
        ({"per": 1.0, "error_f1": 0.25}, False),
        ({"per": 0.3, "error_f1": 0.35, "error_f1_low": 0.28}, False),
        ({"per": 0.3, "error_f1": 0.6, "error_f1_low": 0.5}, True),
        ({"per": 0.1, "error_f1": None}, True),
    ],
)
def test_a_model_that_is_not_better_than_one_that_ignores_the_audio_is_reported(figures, learned):
    assessed = Assessed(pd.DataFrame(), BASELINES | figures, {}, None, {})
    notes = not_learned(assessed, "val")
    assert (len(notes), all("train.lr" in note for note in notes)) == (0 if learned else 1, True)
