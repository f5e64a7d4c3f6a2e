"""Disjoint splits: whole groups (speakers, or values of another field) go to train, val or test."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_lab.data.columns import by_id, durations, factor, field_names, ids, take
from asr_lab.data.table_utterances import Positions
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.units import counted

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut


def groups(cuts: Sequence[Cut] | CutSet, by: str) -> dict[str, list[Cut]]:
    """Group utterances by the value of a field; raises `AsrLabError` if any lacks it."""
    rows = list(cuts)
    return {name: [rows[place] for place in places.tolist()] for name, places in positions(cuts, by).items()}


def positions(cuts: Any, by: str) -> dict[str, Positions]:
    """Return value of a field -> positions of its utterances; raises `AsrLabError` if any lacks it."""
    column = factor(cuts, by)
    lacking = np.flatnonzero(column.codes < 0)
    if len(lacking):
        near = nearest(by, field_names(cuts) - {by}) if len(lacking) == len(column.codes) else ""
        raise AsrLabError(
            f"{counted(len(lacking), 'utterance', 'have')} no field {by!r}: "
            f"{listing(ids(cuts).take(lacking).to_pylist())}",
            hint=f"did you mean {near!r}?" if near else "",
        )
    names = list(dict.fromkeys(map(str, column.values)))
    number = np.array([names.index(str(value)) for value in column.values] if len(names) < len(column.values) else [])
    codes = number[column.codes] if len(number) else column.codes
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    return dict(zip(names, np.split(order, ends[:-1]), strict=True)) if names else {}


def in_id_order(cuts: Any, places: Positions) -> Any:
    """Return the utterances at these positions, sorted by id."""
    chosen = np.zeros(len(cuts), dtype=bool)
    chosen[places] = True
    order = by_id(cuts)
    return take(cuts, order[chosen[order]])


def split_by(cuts: Any, shares: Mapping[str, float], *, by: str = "speaker", seed: int = 0) -> dict[str, Any]:
    """Assign whole groups to splits so that durations approach `shares` (split -> share, sum 1).

    Groups are assigned from the largest to the smallest (ties drawn from `seed`), each to the split that lacks most.
    Every split with a share above 0 gets at least one group. Raises `AsrLabError` if there are too few groups.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    by_group = positions(cuts, by)
    return {
        name: in_id_order(cuts, np.concatenate([by_group[group] for group in own]))
        for name, own in assign(by_group, durations(cuts), wanted, by=by, seed=seed).items()
    }


def assign(
    by_group: Mapping[str, Positions], duration_s: Any, wanted: Mapping[str, float], *, by: str, seed: int
) -> dict[str, list[str]]:
    """Return split -> its groups, as `split_by` describes it; `duration_s` (N,) are seconds."""
    if len(by_group) < len(wanted):
        fewer = [f"--{name} 0" for name in ("test", "val") if name in wanted and len(by_group) > 1]
        raise AsrLabError(
            f"{len(by_group)} values of {by!r} cannot be split into {len(wanted)} parts that share none",
            allowed=f"as many values of {by!r} as splits; found {listing(sorted(by_group))}",
            hint=" or ".join([*fewer, "--by another field, such as block"]),
        )
    seconds = {group: float(np.cumsum(duration_s[places])[-1]) for group, places in by_group.items()}
    total = sum(seconds.values())
    order = sorted(by_group)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -seconds[group])
    members: dict[str, list[str]] = {name: [] for name in wanted}
    lacking = {name: share * total for name, share in wanted.items()}
    for position, group in enumerate(order):
        empty = [name for name in wanted if not members[name]]
        candidates = empty if len(empty) >= len(order) - position else list(wanted)
        target = max(candidates, key=lacking.__getitem__)
        members[target].append(group)
        lacking[target] -= seconds[group]
    return members


def hold_out(cuts: Any, by: str, values: Sequence[str]) -> tuple[Any, Any]:
    """Return (rest, utterances whose field has one of the values); raises `AsrLabError` if either is empty."""
    by_group = positions(cuts, by)
    unknown = [value for value in values if value not in by_group]
    if unknown:
        raise AsrLabError(f"no utterance has {by} = {listing(unknown)}", allowed=listing(sorted(by_group)))
    rest = [places for name, places in by_group.items() if name not in values]
    if not rest:
        raise AsrLabError(f"every utterance has {by} = {listing(values)}: nothing is left", allowed="fewer to hold out")
    return take(cuts, np.concatenate(rest)), take(cuts, np.concatenate([by_group[value] for value in values]))


def hold_out_share(cuts: Any, share: float, *, seed: int = 0) -> tuple[Any, Any]:
    """Return (rest, about `share` of the utterances), drawn from `seed`; each has at least one.

    Raises `AsrLabError` if there are fewer than two utterances.
    """
    if len(cuts) < 2:
        raise AsrLabError(f"{len(cuts)} utterance cannot be split into training and test", allowed="at least two")
    order = _shuffled(cuts, seed)
    number = min(len(order) - 1, max(1, round(len(order) * share)))
    return take(cuts, np.sort(order[number:])), take(cuts, np.sort(order[:number]))


def draw(cuts: Any, number: int, *, seed: int = 0) -> Any:
    """Draw `number` utterances with `seed`; all for 0, or if there are fewer.

    A smaller number draws a subset of what a larger one draws.
    """
    return take(cuts, np.sort(_shuffled(cuts, seed)[: number or None]))


def folds(cuts: Any, by: str | int, *, seed: int = 0) -> dict[str, str]:
    """Return utterance id -> fold: the value of a field, or one of `by` folds of equal size drawn from `seed`.

    Raises `AsrLabError` if the field is missing, or there are fewer utterances than folds.
    """
    named = ids(cuts)
    if isinstance(by, str):
        return {id: value for value, places in positions(cuts, by).items() for id in named.take(places).to_pylist()}
    if not 2 <= by <= len(named):
        raise AsrLabError(f"{len(named)} utterances cannot be put into {by} folds", allowed=f"2 to {len(named)}")
    width = len(str(by - 1))
    shuffled = named.take(_shuffled(cuts, seed)).to_pylist()
    return {id: f"{position % by:0{width}}" for position, id in enumerate(shuffled)}


def halves(cuts: Any, by: str = "", *, seed: int = 0) -> tuple[Any, Any]:
    """Return two halves drawn from `seed`: of the values of a field if there are at least two, else of utterances."""
    by_value = positions(cuts, by) if by else {}
    units = [places for _, places in sorted(by_value.items())]
    if len(units) < 2:
        units = list(by_id(cuts)[:, None])
    random.Random(seed).shuffle(units)
    first = np.zeros(len(cuts), dtype=bool)
    for unit in units[: len(units) // 2]:
        first[unit] = True
    return take(cuts, np.flatnonzero(first)), take(cuts, np.flatnonzero(~first))


def _shuffled(cuts: Any, seed: int) -> Positions:
    """Return all positions, shuffled from the order of ids."""
    order = by_id(cuts).tolist()
    random.Random(seed).shuffle(order)
    return np.array(order, dtype=np.int64)
