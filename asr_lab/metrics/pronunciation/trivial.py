"""Trivial predictors that ignore the audio: the baselines to beat."""

from __future__ import annotations

import pandas as pd

from asr_lab.metrics.pronunciation.detection import Figures, detection, flagged
from asr_lab.metrics.pronunciation.sequences import per, with_phone_errors

_CONSTANT = "error_score"


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a predictor for which every phoneme is correct."""
    none_wrong = [[0.0] * len(row) for row in table["canonical"]]
    predicted = table.assign(recognised=table["canonical"], diagnosis=table["canonical"], **{_CONSTANT: none_wrong})
    return flagged(with_phone_errors(predicted), _CONSTANT, 1.0)


def all_flagged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a predictor for which every phoneme is wrong; it has no diagnosis."""
    all_wrong = [[1.0] * len(row) for row in table["canonical"]]
    return flagged(table.drop(columns="diagnosis", errors="ignore").assign(**{_CONSTANT: all_wrong}), _CONSTANT, 1.0)


def trivial(table: pd.DataFrame) -> Figures:
    """Return the metrics of `as_written`, with its phoneme error rate (`per`)."""
    predicted = as_written(table)
    rate = per(predicted).value
    return {"per": None if rate != rate else rate, **detection(predicted, _CONSTANT)}


def flag_all(table: pd.DataFrame) -> Figures:
    """Return the metrics of `all_flagged`; its F1 is the lower bound for a threshold chosen for F1."""
    return detection(all_flagged(table), _CONSTANT)
