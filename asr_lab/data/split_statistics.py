"""Compare the parts of a corpus: sizes, distributions over age, noise and duration, overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd
from lhotse import CutSet

from asr_lab.data.bins import ordered
from asr_lab.data.curriculum import Hard
from asr_lab.data.splits import groups
from asr_lab.data.stratified_splits import labels


def sizes(parts: Mapping[str, CutSet], hard: Hard, by: str = "speaker") -> pd.DataFrame:
    """Return a row per part: `part, utterances, <by>s, hours, share` of all hours, `hard_share` of its own."""
    hours = {name: sum(cut.duration for cut in cuts) / 3600 for name, cuts in parts.items()}
    return pd.DataFrame(
        [
            {
                "part": name,
                "utterances": len(cuts),
                f"{by}s": len(groups(cuts, by)),
                "hours": hours[name],
                "share": hours[name] / sum(hours.values()),
                "hard_share": sum(cut.duration for cut in cuts if hard(cut)) / 3600 / hours[name],
            }
            for name, cuts in parts.items()
        ]
    )


def distributions(parts: Mapping[str, CutSet], fields: Sequence[str]) -> pd.DataFrame:
    """Return a row per field and non-empty bin: `field, bin`, and the share of the hours of each part."""
    rows = [cut for cuts in parts.values() for cut in cuts]
    part = pd.Series([name for name, cuts in parts.items() for _ in cuts])
    seconds = pd.Series([cut.duration for cut in rows])
    table_rows = []
    for field, column in labels(rows, fields).items():
        for label in ordered(column):
            own = {name: seconds[(part == name) & (column == label)].sum() for name in parts}
            shares = {f"{name}_share": own[name] / seconds[part == name].sum() for name in parts}
            table_rows.append({"field": field, "bin": label, **shares})
    return pd.DataFrame(table_rows, columns=["field", "bin", *(f"{name}_share" for name in parts)])


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


def shared(parts: Mapping[str, CutSet], by: str = "speaker") -> pd.DataFrame:
    """Return a row per pair of parts: the number of values of the field (speakers) and of utterances in both."""
    values = {name: set(groups(cuts, by)) for name, cuts in parts.items()}
    ids = {name: {cut.id for cut in cuts} for name, cuts in parts.items()}
    return pd.DataFrame(
        [
            {
                "parts": f"{one} and {other}",
                f"{by}s_in_both": len(values[one] & values[other]),
                "utterances_in_both": len(ids[one] & ids[other]),
            }
            for one, other in combinations(parts, 2)
        ],
        columns=["parts", f"{by}s_in_both", "utterances_in_both"],
    )
