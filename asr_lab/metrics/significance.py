"""How sure a figure is: bootstrap intervals over utterances (Bisani and Ney 2004, "Bootstrap estimates for
confidence intervals in ASR performance evaluation").

Utterances are drawn with replacement, as many as there are, ten thousand times. Columns are packed into one integer a
row, so that a resample is one gather and one sum; a corpus of very many utterances is drawn as a multinomial over its
distinct rows instead, which is the same distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
CONFIDENCE = 0.95
FEWEST_DIFFERING = 6
"""Utterances that must differ: even if all speak for one side, 5 do so by chance with p = 2 / 2^5 = 0.06."""
_CELLS_AT_ONCE = 2_000_000  # few enough for a processor's cache
_INDEX_COST, _MULTINOMIAL_COST = 5.0, 50.0  # ns a row drawn, and a distinct row counted

Counts = Sequence[int] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % percentile interval; `p` of a difference is two-sided."""

    value: float
    low: float
    high: float
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does not touch 0."""
        return self.low > 0 or self.high < 0


def _resampled_sums(rows: npt.NDArray[np.int64], resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Column sums (resamples, columns) of rows (n, columns) drawn n at a time with replacement."""
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
    """Sums of drawn rows; each row is one integer that holds its columns side by side, `bits` wide."""
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
    """The same sums, drawn as how often each distinct row comes."""
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    step = max(1, _CELLS_AT_ONCE // len(distinct))
    parts = []
    for start in range(0, resamples, step):
        times = draw.multinomial(len(rows), counts / len(rows), size=min(step, resamples - start))
        parts.append(times.astype(np.float64) @ distinct.astype(np.float64))
    return np.concatenate(parts)


def rate_interval(errors: Counts, lengths: Counts, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The corpus error rate (sum of errors / sum of lengths) with its interval; NaN when the lengths sum to 0."""
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
    """Rate of B minus rate of A on the same utterances (paired), with its interval and two-sided p.

    A negative value says that B makes fewer errors. Where few utterances differ the bootstrap is surer than they
    allow: p is never below what an exact sign test could reach with as many.
    """
    columns = [np.asarray(column, dtype=np.int64) for column in (errors_a, errors_b, lengths)]
    rows = np.stack(columns, axis=1)
    if rows[:, 2].sum() == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = _resampled_sums(rows, resamples, seed)
    differences = (sums[:, 1] - sums[:, 0]) / np.maximum(sums[:, 2], 1)
    value = float((rows[:, 1].sum() - rows[:, 0].sum()) / rows[:, 2].sum())
    return of_resampled(value, differences, differing(errors_a, errors_b))


def ratio_difference_interval(
    parts_a: Counts, wholes_a: Counts, parts_b: Counts, wholes_b: Counts, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """As `difference_interval`, of ratios of sums that do not have the same denominators, such as F1."""
    columns = [np.asarray(column, dtype=np.int64) for column in (parts_a, wholes_a, parts_b, wholes_b)]
    rows = np.stack(columns, axis=1)
    totals = rows.sum(axis=0)
    if totals[1] == 0 or totals[3] == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = _resampled_sums(rows, resamples, seed)
    differences = sums[:, 2] / np.maximum(sums[:, 3], 1) - sums[:, 0] / np.maximum(sums[:, 1], 1)
    value = float(totals[2] / totals[3] - totals[0] / totals[1])
    return of_resampled(value, differences, int((rows[:, :2] != rows[:, 2:]).any(axis=1).sum()))


def of_resampled(value: float, resampled: npt.NDArray[np.float64], num_differing: int) -> Interval:
    """A difference with the interval and p that its resamples tell; `num_differing` utterances tell A and B apart."""
    least = 2 * 0.5**num_differing  # of a test that flips the signs of as many differences
    return Interval(value, *bounds(resampled), min(1.0, max(least, _two_sided_p(resampled, value))))


def differing(errors_a: Counts, errors_b: Counts) -> int:
    """On how many utterances A and B do not make the same number of errors: no other tells them apart."""
    return int((np.asarray(errors_a, dtype=np.int64) != np.asarray(errors_b, dtype=np.int64)).sum())


def _two_sided_p(differences: npt.NDArray[np.float64], value: float) -> float:
    """The share of resamples beyond 0, twice; where there is none, what a normal distribution of their spread says,
    for many comparisons need p below what ten thousand resamples can show.
    """
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (float(tail) + 1) / (len(differences) + 1))
    spread = float(differences.std())
    return min(p, math.erfc(abs(value) / spread / math.sqrt(2))) if tail == 0 and spread > 0 else p


def bounds(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Low and high end of the 95 % percentile interval of resampled values."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several comparisons, corrected so that the chance of one false claim among them stays what it
    says (Holm 1979, "A simple sequentially rejective multiple test procedure"); in their order, each at most 1.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
