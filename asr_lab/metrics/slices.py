"""Error rates of parts of a corpus: by speaker, gender, age, noise and duration, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pandas as pd

from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import rate_interval

AGES = (0, 7, 10, 13, 16, 26, 41)  # years; lower bounds
SNRS = (float("-inf"), 5, 10, 15, 20, 25)  # dB
DURATIONS = (0, 2, 4, 6, 10, 15)  # s
FEW_WORDS = 50  # below which a slice says little

COLUMNS: Mapping[str, tuple[str, Callable[[pd.Series], pd.Series]]] = {
    "speaker": ("speaker", lambda column: column),
    "gender": ("gender", lambda column: column),
    "age": ("age", lambda column: _binned(column, AGES, whole=True)),
    "snr": ("snr_db", lambda column: _binned(column, SNRS)),
    "duration": ("duration_s", lambda column: _binned(column, DURATIONS)),
    "l1": ("l1", lambda column: column),
    "block": ("block", lambda column: column),
}
"""Slice -> the column of a score table it is made of, and how."""


def labels(table: pd.DataFrame) -> pd.DataFrame:
    """The slice each utterance belongs to: a column a slice, of those the table has at least two values of."""
    found = {}
    for name, (column, label) in COLUMNS.items():
        if column in table:
            values = label(table[column]).astype("string").fillna("unknown")
            if values.nunique() > 1:
                found[name] = values
    return pd.DataFrame(found, index=table.index)


def slices(table: pd.DataFrame) -> pd.DataFrame:
    """A row a slice and value: `slice, value, utterances, words, errors, wer, low, high, cer, few`.

    `table` is what `error_rates.score` gives with the columns to slice by; `few` marks slices of less than 50 words.
    """
    rows = []
    errors = error_rates.word_errors(table)
    for name, values in labels(table).items():
        for value in ordered(values):
            part = values == value
            interval = rate_interval(errors[part].to_numpy(), table.loc[part, "words"].to_numpy())
            words = int(table.loc[part, "words"].sum())
            rows.append(
                {
                    "slice": name,
                    "value": value,
                    "utterances": int(part.sum()),
                    "words": words,
                    "errors": int(errors[part].sum()),
                    "wer": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "cer": error_rates.cer(table[part]),
                    "few": words < FEW_WORDS,
                }
            )
    columns = ["slice", "value", "utterances", "words", "errors", "wer", "low", "high", "cer", "few"]
    return pd.DataFrame(rows, columns=columns)


def ordered(values: pd.Series) -> list[str]:
    """The values that occur: bins by their bounds, names by the alphabet, unknown ones last."""
    return sorted(values.unique(), key=lambda value: (value == "unknown", _lower(value), value))


def _lower(label: str) -> float:
    text = label.removeprefix("below ").removesuffix("+").split("-")[0]
    try:
        return float(text) - (1 if label.startswith("below") else 0)
    except ValueError:
        return 0.0


def _binned(column: pd.Series, bounds: Sequence[float], *, whole: bool = False) -> pd.Series:
    """The bin of each number: `7-9` for whole numbers, `2-4` (4 not included) for others, `41+` for the last."""
    names = [
        f"below {high:g}" if low == float("-inf") else f"{low:g}-{high - 1 if whole else high:g}"
        for low, high in pairwise(bounds)
    ]
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.cut(numbers, [*bounds, float("inf")], right=False, labels=[*names, f"{bounds[-1]:g}+"])
