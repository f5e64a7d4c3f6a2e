"""An assessment table with one row per phoneme."""

from __future__ import annotations

import numpy as np
import pandas as pd


def by_phoneme(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return one row per canonical phoneme: `row` (the utterance's index), `canonical`, and the given columns.

    A column has a list of N values per utterance, as many as `canonical`, or one value.
    """
    lengths = np.array([len(row) for row in table["canonical"]], dtype=np.int64)
    exploded = {"row": np.repeat(np.arange(len(table)), lengths)}
    for name in dict.fromkeys(("canonical", *columns)):
        values = table[name]
        exploded[name] = _joined(values) if _has_lists(values) else np.repeat(values.to_numpy(), lengths)
    return pd.DataFrame(exploded)


def _has_lists(values: pd.Series) -> bool:
    return bool(values.map(lambda value: isinstance(value, list | tuple | np.ndarray)).all())


def _joined(values: pd.Series) -> np.ndarray:
    parts = [np.asarray(part) for part in values if len(part)]
    return np.concatenate(parts) if parts else np.array([])
