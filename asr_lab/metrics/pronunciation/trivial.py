"""Predictors that have not listened: what any model has to beat."""

from __future__ import annotations

import pandas as pd

from asr_lab.metrics.pronunciation.detection import Figures, detection, flagged
from asr_lab.metrics.pronunciation.sequences import per, with_phone_errors

_CONSTANT = "error_score"


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a predictor that says of every utterance that it was said as written: nothing is wrong."""
    none_wrong = [[0.0] * len(row) for row in table["canonical"]]
    told = table.assign(recognised=table["canonical"], diagnosis=table["canonical"], **{_CONSTANT: none_wrong})
    return flagged(with_phone_errors(told), _CONSTANT, 1.0)


def all_flagged(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a predictor that says of every phoneme that it is wrong; it has no diagnosis."""
    all_wrong = [[1.0] * len(row) for row in table["canonical"]]
    return flagged(table.drop(columns="diagnosis", errors="ignore").assign(**{_CONSTANT: all_wrong}), _CONSTANT, 1.0)


def trivial(table: pd.DataFrame) -> Figures:
    """The figures of `as_written`, its phoneme error rate (`per`) among them."""
    told = as_written(table)
    rate = per(told).value
    return {"per": None if rate != rate else rate, **detection(told, _CONSTANT)}


def flag_all(table: pd.DataFrame) -> Figures:
    """The figures of `all_flagged`: its F1 is the least that a threshold chosen for F1 can reach."""
    return detection(all_flagged(table), _CONSTANT)
