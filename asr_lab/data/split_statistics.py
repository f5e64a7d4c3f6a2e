"""Compare the parts of a corpus: sizes, distributions over age, noise and duration, overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from asr_lab.data.bins import UNKNOWN, ordered
from asr_lab.data.columns import durations, ids, seconds
from asr_lab.data.curriculum import Hard
from asr_lab.data.splits import positions
from asr_lab.data.stratified_splits import labels


def sizes(parts: Mapping[str, Any], hard: Hard, by: str = "speaker") -> pd.DataFrame:
    """Return a row per part: `part, utterances, <by>s, hours, share` of all hours, `hard_share` of its own."""
    hours = {name: seconds(cuts) / 3600 for name, cuts in parts.items()}
    return pd.DataFrame(
        [
            {
                "part": name,
                "utterances": len(cuts),
                f"{by}s": len(positions(cuts, by)),
                "hours": hours[name],
                "share": hours[name] / sum(hours.values()),
                "hard_share": _added(durations(cuts)[hard.mask(cuts)]) / 3600 / hours[name],
            }
            for name, cuts in parts.items()
        ]
    )


def distributions(parts: Mapping[str, Any], fields: Sequence[str]) -> pd.DataFrame:
    """Return a row per field and non-empty bin: `field, bin`, and the share of the hours of each part."""
    duration_s = {name: durations(cuts) for name, cuts in parts.items()}
    total = {name: seconds.sum() for name, seconds in duration_s.items()}
    labelled = {name: labels(cuts, fields) for name, cuts in parts.items()}
    table_rows = []
    for field in fields:
        columns = {name: table[field] for name, table in labelled.items() if field in table}
        found = {label for column in columns.values() for label in column.cat.categories[column.cat.codes.unique()]}
        if columns and len(columns) < len(parts):
            found.add(UNKNOWN)
        for label in ordered(pd.Series(sorted(found), dtype=object)):
            shares = {
                f"{name}_share": _of_label(columns.get(name), label, duration_s[name]) / total[name] for name in parts
            }
            table_rows.append({"field": field, "bin": label, **shares})
    return pd.DataFrame(table_rows, columns=["field", "bin", *(f"{name}_share" for name in parts)])


def _of_label(column: pd.Series | None, label: str, duration_s: npt.NDArray[np.float64]) -> float:
    """Return the seconds of a bin; a part of which no utterance has the field is unknown."""
    if column is None:
        return float(duration_s.sum()) if label == UNKNOWN else 0.0
    return float(duration_s[(column == label).to_numpy()].sum())


def _added(values: npt.NDArray[np.float64]) -> float:
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def largest_gap(table: pd.DataFrame) -> float:
    """Return the largest difference of the shares of a bin between two parts (0.03: three points)."""
    shares = table.drop(columns=["field", "bin"])
    return float((shares.max(axis=1) - shares.min(axis=1)).max()) if len(table) else 0.0


def unbalanced_bins(table: pd.DataFrame, gap: float) -> list[str]:
    """Describe the bins whose shares differ by more than `gap` between two parts, the largest difference first."""
    shares = table.drop(columns=["field", "bin"]).rename(columns=lambda name: name.removesuffix("_share"))
    apart = (shares.max(axis=1) - shares.min(axis=1)).sort_values(ascending=False, kind="stable")
    lines = []
    for row in apart[apart > gap].index:
        most, least = shares.loc[row].idxmax(), shares.loc[row].idxmin()
        name = f"{table.loc[row, 'field']} {table.loc[row, 'bin']}"
        lines.append(f"{name} is {shares.loc[row, most]:.0%} of {most} and {shares.loc[row, least]:.0%} of {least}")
    return lines


def shared(parts: Mapping[str, Any], by: str = "speaker") -> pd.DataFrame:
    """Return a row per pair of parts: the number of values of the field (speakers) and of utterances in both."""
    values = {name: set(positions(cuts, by)) for name, cuts in parts.items()}
    named = {name: ids(cuts).unique() for name, cuts in parts.items()}
    return pd.DataFrame(
        [
            {
                "parts": f"{one} and {other}",
                f"{by}s_in_both": len(values[one] & values[other]),
                "utterances_in_both": pc.sum(pc.is_in(named[one], value_set=named[other])).as_py() or 0,
            }
            for one, other in combinations(parts, 2)
        ],
        columns=["parts", f"{by}s_in_both", "utterances_in_both"],
    )
