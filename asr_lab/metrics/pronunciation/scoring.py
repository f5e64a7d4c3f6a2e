"""How near scores of pronunciation are to those that experts gave."""

from __future__ import annotations

import numpy as np
import pandas as pd

from asr_lab.metrics.pronunciation.detection import Figures
from asr_lab.metrics.pronunciation.phonemes import by_phoneme


def score_figures(table: pd.DataFrame) -> Figures:
    """Pearson's correlation and mean squared error of `score` against `phone_scores` (0-2), phoneme by phoneme.

    Phonemes without a reference score do not count. None without any; a side that does not vary has no correlation.
    `score_mse_mean` is the error of giving every phoneme the mean: what any model has to beat.
    """
    none: Figures = {"score_pcc": None, "score_mse": None, "score_mse_mean": None}
    if not {"score", "phone_scores"} <= set(table):
        return none
    scored = table[table["phone_scores"].map(lambda row: row is not None and len(row) > 0)]
    phonemes = by_phoneme(scored, "score", "phone_scores")
    told = phonemes["score"].to_numpy(dtype=np.float64)
    wanted = phonemes["phone_scores"].to_numpy(dtype=np.float64)
    known = np.isfinite(wanted)
    told, wanted = told[known], wanted[known]
    if not len(wanted):
        return none
    varies = len(wanted) > 1 and told.std() > 0 and wanted.std() > 0
    return {
        "score_pcc": float(np.corrcoef(told, wanted)[0, 1]) if varies else None,
        "score_mse": float(np.mean((told - wanted) ** 2)),
        "score_mse_mean": float(wanted.var()),
    }
