"""Bootstrap confidence intervals over utterances (Bisani and Ney 2004, "Bootstrap estimates for confidence intervals
in ASR performance evaluation").

Each of ten thousand resamples draws as many utterances as there are, with replacement. The columns of a row are packed
into one integer, so a resample is one gather and one sum; a large corpus is drawn as a multinomial over its distinct
rows instead, which is the same distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
"""Of every interval but that of an area under a curve (`pronunciation.intervals.AUC_RESAMPLES`)."""
CONFIDENCE = 0.95
FEWEST_DIFFERING = 6
"""Fewest utterances that must differ: even if all 5 favour one side, chance does so with p = 2 / 2^5 = 0.06."""
_CELLS_AT_ONCE = 2_000_000  # fit into the processor's cache
_INDEX_COST, _MULTINOMIAL_COST = 5.0, 50.0  # ns per row drawn, and per distinct row counted

Counts = Sequence[int] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A metric with its 95 % percentile interval; the `p` of a difference is two-sided."""

    value: float
    low: float
    high: float
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Return whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0


def _resampled_sums(rows: npt.NDArray[np.int64], resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Return column sums (resamples, columns) of rows (n, columns) drawn n at a time with replacement."""
    draw = np.random.default_rng(seed)
    bits = 64 // rows.shape[1] - 1
    if (rows.sum(axis=0) < 0).any() or (rows.max(axis=0) * len(rows) >= 2**bits).any():
        return _by_distinct_rows(rows, resamples, draw)
    distinct = len(np.unique(rows, axis=0))
    by_index = len(rows) * _INDEX_COST < distinct * _MULTINOMIAL_COST
    return _by_index(rows, resamples, draw, bits) if by_index else _by_distinct_rows(rows, resamples, draw)


def _by_index(
    rows: npt.NDArray[np.int64], resamples: int, draw: np.random.Generator, bits: int
) -> npt.NDArray[np.float64]:
    """Sum drawn rows, each packed into one integer whose columns are `bits` wide."""
    num_rows, num_columns = rows.shape
    shifts = bits * np.arange(num_columns)
    packed = (rows << shifts).sum(axis=1)
    kind = np.uint16 if num_rows <= 2**16 else np.uint32
    step = max(1, _CELLS_AT_ONCE // num_rows)
    sums = np.empty(resamples, dtype=np.int64)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        sums[start : start + size] = packed[draw.integers(num_rows, size=(size, num_rows), dtype=kind)].sum(axis=1)
    columns: npt.NDArray[np.float64] = ((sums[:, None] >> shifts) & (2**bits - 1)).astype(np.float64)
    return columns


def _by_distinct_rows(
    rows: npt.NDArray[np.int64], resamples: int, draw: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the same sums, drawing the count of each distinct row."""
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    step = max(1, _CELLS_AT_ONCE // len(distinct))
    parts = []
    for start in range(0, resamples, step):
        times = draw.multinomial(len(rows), counts / len(rows), size=min(step, resamples - start))
        parts.append(times.astype(np.float64) @ distinct.astype(np.float64))
    return np.concatenate(parts)


def rate_interval(errors: Counts, lengths: Counts, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the corpus error rate (sum of errors / sum of lengths) and its interval; NaN if the lengths sum to 0."""
    rows = np.stack([np.asarray(errors, dtype=np.int64), np.asarray(lengths, dtype=np.int64)], axis=1)
    if rows[:, 1].sum() == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = _resampled_sums(rows, resamples, seed)
    rates = sums[:, 0] / np.maximum(sums[:, 1], 1)
    low, high = bounds(rates)
    return Interval(float(rows[:, 0].sum() / rows[:, 1].sum()), low, high)


def difference_interval(
    errors_a: Counts, errors_b: Counts, lengths: Counts, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the rate of B minus the rate of A on the same utterances (paired), its interval and two-sided p.

    A negative value means that B makes fewer errors. The bootstrap is overconfident if few utterances differ, so p is
    never below the smallest p of an exact sign test on as many.
    """
    columns = [np.asarray(column, dtype=np.int64) for column in (errors_a, errors_b, lengths)]
    rows = np.stack(columns, axis=1)
    if rows[:, 2].sum() == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = _resampled_sums(rows, resamples, seed)
    differences = (sums[:, 1] - sums[:, 0]) / np.maximum(sums[:, 2], 1)
    value = float((rows[:, 1].sum() - rows[:, 0].sum()) / rows[:, 2].sum())
    return of_resampled(value, differences, differing(errors_a, errors_b))


def ratio_difference_interval(parts_a: Counts, wholes_a: Counts, parts_b: Counts, wholes_b: Counts) -> Interval:
    """Like `difference_interval`, for ratios of sums with different denominators, such as F1."""
    columns = [np.asarray(column, dtype=np.int64) for column in (parts_a, wholes_a, parts_b, wholes_b)]
    rows = np.stack(columns, axis=1)
    totals = rows.sum(axis=0)
    if totals[1] == 0 or totals[3] == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = _resampled_sums(rows, RESAMPLES, seed=0)
    differences = sums[:, 2] / np.maximum(sums[:, 3], 1) - sums[:, 0] / np.maximum(sums[:, 1], 1)
    value = float(totals[2] / totals[3] - totals[0] / totals[1])
    return of_resampled(value, differences, int((rows[:, :2] != rows[:, 2:]).any(axis=1).sum()))


def of_resampled(value: float, resampled: npt.NDArray[np.float64], num_differing: int) -> Interval:
    """Return a difference with the interval and p of its resamples; A and B differ on `num_differing` utterances."""
    least = 2 * 0.5**num_differing  # smallest p of a sign test
    return Interval(value, *bounds(resampled), min(1.0, max(least, _two_sided_p(resampled, value))))


def differing(errors_a: Counts, errors_b: Counts) -> int:
    """Count the utterances on which A and B make different numbers of errors."""
    return int((np.asarray(errors_a, dtype=np.int64) != np.asarray(errors_b, dtype=np.int64)).sum())


def _two_sided_p(differences: npt.NDArray[np.float64], value: float) -> float:
    """Return twice the share of resamples beyond 0; if there is none, the p of a normal distribution with their spread,
    since corrections for many comparisons need a p below the resolution of ten thousand resamples.
    """
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (float(tail) + 1) / (len(differences) + 1))
    spread = float(differences.std())
    return min(p, math.erfc(abs(value) / spread / math.sqrt(2))) if tail == 0 and spread > 0 else p


def bounds(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the low and high end of the 95 % percentile interval of resampled values."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of several comparisons for the family-wise error rate (Holm 1979, "A simple sequentially
    rejective multiple test procedure"); in their order, each at most 1.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
