"""Agreement of pronunciation scores with those of experts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from asr_lab.metrics.pronunciation.detection import Figures
from asr_lab.metrics.pronunciation.phonemes import by_phoneme


def score_figures(table: pd.DataFrame) -> Figures:
    """Return Pearson's correlation and mean squared error of `score` against `phone_scores` (0-2), per phoneme.

    Phonemes without a reference score are left out; all values are None without any, and the correlation is None if
    either side is constant. `score_mse_mean` is the error of predicting the mean, the baseline to beat.
    """
    none: Figures = {"score_pcc": None, "score_mse": None, "score_mse_mean": None}
    if not {"score", "phone_scores"} <= set(table):
        return none
    scored = table[table["phone_scores"].map(lambda row: row is not None and len(row) > 0)]
    phonemes = by_phoneme(scored, "score", "phone_scores")
    predicted = phonemes["score"].to_numpy(dtype=np.float64)
    wanted = phonemes["phone_scores"].to_numpy(dtype=np.float64)
    known = np.isfinite(wanted)
    predicted, wanted = predicted[known], wanted[known]
    if not len(wanted):
        return none
    varies = len(wanted) > 1 and predicted.std() > 0 and wanted.std() > 0
    return {
        "score_pcc": float(np.corrcoef(predicted, wanted)[0, 1]) if varies else None,
        "score_mse": float(np.mean((predicted - wanted) ** 2)),
        "score_mse_mean": float(wanted.var()),
    }
