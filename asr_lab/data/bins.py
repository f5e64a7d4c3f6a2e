"""Bins of age, SNR and duration, for slices of scores and for stratified splits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

AGES = (0, 7, 10, 13, 16, 26, 41)  # years; lower bounds
SNRS = (float("-inf"), 5, 10, 15, 20, 25)  # dB
DURATIONS = (0, 2, 4, 6, 10, 15)  # s
UNKNOWN = "unknown"

FIELDS: dict[str, tuple[Sequence[float], bool]] = {
    "age": (AGES, True),
    "snr_db": (SNRS, False),
    "duration_s": (DURATIONS, False),
}
"""Numeric column -> bounds, and whether its values are integers."""


def binned(column: pd.Series, bounds: Sequence[float], *, integers: bool = False) -> pd.Series:
    """Return the bin of each number: `7-9` for integers, `2-4` (4 excluded) for others, `41+` for the last."""
    names = [
        f"below {high:g}" if low == float("-inf") else f"{low:g}-{high - 1 if integers else high:g}"
        for low, high in pairwise(bounds)
    ]
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.cut(numbers, [*bounds, float("inf")], right=False, labels=[*names, f"{bounds[-1]:g}+"])


def labelled(column: pd.Series, name: str) -> pd.Series:
    """Return the label of each value: its bin if `FIELDS` has bounds for the column, else itself, or `unknown`."""
    if name in FIELDS:
        bounds, integers = FIELDS[name]
        column = binned(column, bounds, integers=integers)
    return column.astype("string").fillna(UNKNOWN)


def ordered(values: pd.Series) -> list[str]:
    """Return the distinct values: bins by their bounds, names alphabetically, `unknown` last."""
    return sorted(values.unique(), key=lambda value: (value == UNKNOWN, _lower(value), value))


def _lower(label: str) -> float:
    text = label.removeprefix("below ").removesuffix("+").split("-")[0]
    try:
        return float(text) - (1 if label.startswith("below") else 0)
    except ValueError:
        return 0.0
