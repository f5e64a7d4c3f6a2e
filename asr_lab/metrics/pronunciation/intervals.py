"""How sure F1 and PR-AUC are: bootstrap over utterances, of one detector and of two on the same utterances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from asr_lab.metrics.pronunciation.phonemes import by_phoneme
from asr_lab.metrics.ratios import difference, f1_counts
from asr_lab.metrics.significance import Interval, bounds, of_resampled, rate_interval

AUC_RESAMPLES = 1000
"""Fewer than of F1: each one ranks all phonemes anew."""
_CELLS_AT_ONCE = 4_000_000


def f1_interval(table: pd.DataFrame) -> Interval | None:
    """F1 of the error class with its interval; None without errors."""
    if not table["true_rejects"].sum() + table["false_accepts"].sum():
        return None
    twice, whole = f1_counts(table)
    return rate_interval(twice.to_numpy(), whole.to_numpy())


def f1_difference(table_a: pd.DataFrame, table_b: pd.DataFrame) -> Interval | None:
    """F1 of B minus F1 of A on the same utterances in the same order (above 0: B is better); None without errors."""
    if not table_a["true_rejects"].sum() + table_a["false_accepts"].sum():
        return None
    return difference(table_a, table_b, "error_f1")[0]


def pr_auc_interval(table: pd.DataFrame, column: str, *, resamples: int = AUC_RESAMPLES) -> Interval | None:
    """PR-AUC of a column of error scores with its interval; None unless there are errors and correct phonemes."""
    if by_phoneme(table, "errors")["errors"].nunique() < 2:
        return None
    value, drawn = _average_precisions(table, column, resamples)
    return Interval(value, *bounds(drawn))


def pr_auc_difference(
    table_a: pd.DataFrame, column_a: str, table_b: pd.DataFrame, column_b: str, *, resamples: int = AUC_RESAMPLES
) -> Interval | None:
    """PR-AUC of B minus PR-AUC of A on the same utterances in the same order; None as `pr_auc_interval`."""
    if by_phoneme(table_a, "errors")["errors"].nunique() < 2:
        return None
    (value_a, drawn_a), (value_b, drawn_b) = (
        _average_precisions(table, column, resamples) for table, column in ((table_a, column_a), (table_b, column_b))
    )
    num_differing = sum(map(_differ, table_a[column_a], table_b[column_b]))
    return of_resampled(value_b - value_a, drawn_b - drawn_a, num_differing)


def _differ(scores_a: Sequence[float], scores_b: Sequence[float]) -> bool:
    return list(scores_a) != list(scores_b)


def _average_precisions(table: pd.DataFrame, column: str, resamples: int) -> tuple[float, npt.NDArray[np.float64]]:
    """(Average precision, that of each resample). The same draws for every table of as many utterances: pairs stay."""
    phonemes = by_phoneme(table, column, "errors").sort_values(column, ascending=False, kind="stable")
    scores, errors = phonemes[column].to_numpy(dtype=np.float64), phonemes["errors"].to_numpy()
    rows, ends = phonemes["row"].to_numpy(), np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    draw, num_rows = np.random.default_rng(0), len(table)
    drawn = np.empty(resamples)
    step = max(1, _CELLS_AT_ONCE // len(scores))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        times = draw.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=size).astype(np.float32)
        drawn[start : start + size] = _average_precision(times[:, rows], errors, ends)
    whole = _average_precision(np.ones((1, len(scores)), dtype=np.float32), errors, ends)
    return float(whole[0]), drawn


def _average_precision(
    weights: npt.NDArray[np.float32], errors: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Average precision under each row of weights (R, phonemes), phonemes sorted by falling score.

    `ends` are the last places of equal scores; sum over them of (recall gained) x precision.
    """
    flags = np.cumsum(weights, axis=1, dtype=np.float64)[:, ends]
    hits = np.cumsum(weights * errors.astype(np.float32), axis=1, dtype=np.float64)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0.0)
    total = np.maximum(hits[:, -1:], 1)
    found: npt.NDArray[np.float64] = (gained * hits / np.maximum(flags, 1)).sum(axis=1) / total[:, 0]
    return found
