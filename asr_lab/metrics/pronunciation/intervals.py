"""Bootstrap intervals of F1 and PR-AUC over utterances, for one detector and for the difference of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix

from asr_lab.metrics.pronunciation.phonemes import by_phoneme
from asr_lab.metrics.ratios import difference, f1_counts
from asr_lab.metrics.significance import Interval, bounds, of_resampled, rate_interval

AUC_RESAMPLES = 1000
"""Fewer than for F1, since each one ranks all phonemes again."""
_AT_ONCE = 100  # resamples, to bound memory


def f1_interval(table: pd.DataFrame) -> Interval | None:
    """Return F1 of the error class with its interval; None without errors."""
    if not table["true_rejects"].sum() + table["false_accepts"].sum():
        return None
    twice, whole = f1_counts(table)
    return rate_interval(twice.to_numpy(), whole.to_numpy())


def f1_difference(table_a: pd.DataFrame, table_b: pd.DataFrame) -> Interval | None:
    """Return F1 of B minus F1 of A on the same utterances in the same order; None without errors."""
    if not table_a["true_rejects"].sum() + table_a["false_accepts"].sum():
        return None
    return difference(table_a, table_b, "error_f1")[0]


def pr_auc_interval(table: pd.DataFrame, column: str) -> Interval | None:
    """Return PR-AUC of a column of error scores with its interval; None unless there are correct and wrong phonemes."""
    if by_phoneme(table, "errors")["errors"].nunique() < 2:
        return None
    value, drawn = _average_precisions(table, column)
    return Interval(value, *bounds(drawn))


def pr_auc_difference(table_a: pd.DataFrame, column_a: str, table_b: pd.DataFrame, column_b: str) -> Interval | None:
    """Return PR-AUC of B minus that of A on the same utterances in the same order; None as in `pr_auc_interval`."""
    if by_phoneme(table_a, "errors")["errors"].nunique() < 2:
        return None
    (value_a, drawn_a), (value_b, drawn_b) = (
        _average_precisions(table, column) for table, column in ((table_a, column_a), (table_b, column_b))
    )
    num_differing = sum(map(_differ, table_a[column_a], table_b[column_b]))
    return of_resampled(value_b - value_a, drawn_b - drawn_a, num_differing)


def _differ(scores_a: Sequence[float], scores_b: Sequence[float]) -> bool:
    return list(scores_a) != list(scores_b)


def _average_precisions(table: pd.DataFrame, column: str) -> tuple[float, npt.NDArray[np.float64]]:
    """Return (average precision, that of each resample); tables of equal length have the same draws, so they pair."""
    steps, num_rows = _steps(table, column), len(table)
    draw = np.random.default_rng(0)
    parts = []
    for start in range(0, AUC_RESAMPLES, _AT_ONCE):
        size = min(_AT_ONCE, AUC_RESAMPLES - start)
        times = draw.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=size)
        parts.append(_average_precision(*steps, times.T.astype(np.float64)))
    return float(_average_precision(*steps, np.ones((num_rows, 1)))[0]), np.concatenate(parts)


def _steps(table: pd.DataFrame, column: str) -> tuple[csr_matrix, csr_matrix]:
    """Return (phonemes, errors) that each utterance adds at each step of recall, by descending score.

    A step is a score that at least one error has; both are sparse (steps, utterances).
    """
    phonemes = by_phoneme(table, column, "errors").sort_values(column, ascending=False, kind="stable")
    scores, rows = phonemes[column].to_numpy(dtype=np.float64), phonemes["row"].to_numpy()
    wrong = phonemes["errors"].to_numpy() == 1
    ends = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    alike = np.searchsorted(ends, np.arange(len(scores)))  # phonemes of the same score
    of_errors = np.unique(alike[wrong])
    step = np.searchsorted(of_errors, alike)  # phonemes after the last error add nothing
    shape = (len(of_errors) + 1, len(table))
    added = csr_matrix((np.ones(len(rows)), (step, rows)), shape)[:-1]
    hit = csr_matrix((np.ones(wrong.sum()), (step[wrong], rows[wrong])), shape)[:-1]
    return added, hit


def _average_precision(added: csr_matrix, hit: csr_matrix, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the average precision of R resamples; `times` (n, R) is how often each utterance was drawn."""
    new_hits = hit @ times
    hits, flags = np.cumsum(new_hits, axis=0), np.cumsum(added @ times, axis=0)
    averages: npt.NDArray[np.float64] = (new_hits * hits / np.maximum(flags, 1)).sum(axis=0) / np.maximum(hits[-1], 1)
    return averages
