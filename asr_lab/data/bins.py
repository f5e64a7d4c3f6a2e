"""The bins that ages, signal-to-noise ratios and durations are put into, for slices of scores and for splits alike."""

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
"""Column of numbers -> its bounds, and whether it counts whole numbers."""


def binned(column: pd.Series, bounds: Sequence[float], *, whole: bool = False) -> pd.Series:
    """The bin of each number: `7-9` for whole numbers, `2-4` (4 not included) for others, `41+` for the last."""
    names = [
        f"below {high:g}" if low == float("-inf") else f"{low:g}-{high - 1 if whole else high:g}"
        for low, high in pairwise(bounds)
    ]
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.cut(numbers, [*bounds, float("inf")], right=False, labels=[*names, f"{bounds[-1]:g}+"])


def labelled(column: pd.Series, name: str) -> pd.Series:
    """The label of each value of a column: its bin where `FIELDS` has bounds for it, else itself; gaps are unknown."""
    if name in FIELDS:
        bounds, whole = FIELDS[name]
        column = binned(column, bounds, whole=whole)
    return column.astype("string").fillna(UNKNOWN)


def ordered(values: pd.Series) -> list[str]:
    """The values that occur: bins by their bounds, names by the alphabet, unknown ones last."""
    return sorted(values.unique(), key=lambda value: (value == UNKNOWN, _lower(value), value))


def _lower(label: str) -> float:
    text = label.removeprefix("below ").removesuffix("+").split("-")[0]
    try:
        return float(text) - (1 if label.startswith("below") else 0)
    except ValueError:
        return 0.0
