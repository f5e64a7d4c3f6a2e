"""What parts of a corpus hold, side by side: hours of each age, noise and duration, and of hard utterances."""

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
    """A row a part: `part, utterances, <by>s, hours, share` of all hours, `hard_share` of its own."""
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
    """A row a field and bin: `field, bin`, and for each part the share of its hours; a bin nobody is in is left out."""
    rows = [cut for cuts in parts.values() for cut in cuts]
    part = pd.Series([name for name, cuts in parts.items() for _ in cuts])
    seconds = pd.Series([cut.duration for cut in rows])
    found = []
    for field, column in labels(rows, fields).items():
        for label in ordered(column):
            own = {name: seconds[(part == name) & (column == label)].sum() for name in parts}
            shares = {f"{name}_share": own[name] / seconds[part == name].sum() for name in parts}
            found.append({"field": field, "bin": label, **shares})
    return pd.DataFrame(found, columns=["field", "bin", *(f"{name}_share" for name in parts)])


def largest_gap(table: pd.DataFrame) -> float:
    """How far the shares of a bin lie apart in two parts, at most (0.03: three points)."""
    shares = table.drop(columns=["field", "bin"])
    return float((shares.max(axis=1) - shares.min(axis=1)).max()) if len(table) else 0.0


def unlike(table: pd.DataFrame, gap: float) -> list[str]:
    """The bins of which two parts have shares further apart than `gap`, for people, the worst first."""
    shares = table.drop(columns=["field", "bin"]).rename(columns=lambda name: name.removesuffix("_share"))
    apart = (shares.max(axis=1) - shares.min(axis=1)).sort_values(ascending=False, kind="stable")
    found = []
    for row in apart[apart > gap].index:
        most, least = shares.loc[row].idxmax(), shares.loc[row].idxmin()
        name = f"{table.loc[row, 'field']} {table.loc[row, 'bin']}"
        found.append(f"{name} is {shares.loc[row, most]:.0%} of {most} and {shares.loc[row, least]:.0%} of {least}")
    return found


def shared(parts: Mapping[str, CutSet], by: str = "speaker") -> pd.DataFrame:
    """A row a pair of parts: how many values of the field (speakers) and how many utterances are in both."""
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
