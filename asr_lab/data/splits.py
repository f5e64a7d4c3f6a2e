"""Disjoint splits: whole groups (speakers, or values of another field) go to train, val or test."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError, listing, nearest


def groups(cuts: Sequence[Cut] | CutSet, by: str) -> dict[str, list[Cut]]:
    """Group utterances by the value of a field; raises `AsrLabError` if any lacks it."""
    by_value: dict[str, list[Cut]] = defaultdict(list)
    lacking = []
    for cut in cuts:
        value = manifest.field(cut, by)
        if value is None:
            lacking.append(cut.id)
        by_value[str(value)].append(cut)
    if lacking:
        near = nearest(by, manifest.fields(cuts) - {by}) if len(lacking) == len(cuts) else ""
        raise AsrLabError(
            f"{len(lacking)} utterances have no field {by!r}: {listing(lacking)}",
            hint=f"did you mean {near!r}?" if near else "",
        )
    return dict(by_value)


def split_by(cuts: CutSet, shares: Mapping[str, float], *, by: str = "speaker", seed: int = 0) -> dict[str, CutSet]:
    """Assign whole groups to splits so that durations approach `shares` (split -> share, sum 1).

    Groups are assigned from the largest to the smallest (ties drawn from `seed`), each to the split that lacks most.
    Every split with a share above 0 gets at least one group. Raises `AsrLabError` if there are too few groups.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    by_group = groups(cuts, by)
    if len(by_group) < len(wanted):
        fewer = [f"--{name} 0" for name in ("test", "val") if name in wanted and len(by_group) > 1]
        raise AsrLabError(
            f"{len(by_group)} values of {by!r} cannot be split into {len(wanted)} parts that share none",
            allowed=f"as many values of {by!r} as splits; found {listing(sorted(by_group))}",
            hint=" or ".join([*fewer, "--by another field, such as block"]),
        )
    seconds = {group: sum(cut.duration for cut in rows) for group, rows in by_group.items()}
    total = sum(seconds.values())
    order = sorted(by_group)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -seconds[group])
    members: dict[str, list[Cut]] = {name: [] for name in wanted}
    lacking = {name: share * total for name, share in wanted.items()}
    for position, group in enumerate(order):
        empty = [name for name in wanted if not members[name]]
        candidates = empty if len(empty) >= len(order) - position else list(wanted)
        target = max(candidates, key=lacking.__getitem__)
        members[target] += by_group[group]
        lacking[target] -= seconds[group]
    return {name: CutSet.from_cuts(sorted(rows, key=lambda cut: cut.id)) for name, rows in members.items()}


def hold_out(cuts: CutSet, by: str, values: Sequence[str]) -> tuple[CutSet, CutSet]:
    """Return (rest, utterances whose field has one of the values); raises `AsrLabError` if either is empty."""
    by_group = groups(cuts, by)
    unknown = [value for value in values if value not in by_group]
    if unknown:
        raise AsrLabError(f"no utterance has {by} = {listing(unknown)}", allowed=listing(sorted(by_group)))
    rest = [cut for name, rows in by_group.items() if name not in values for cut in rows]
    if not rest:
        raise AsrLabError(f"every utterance has {by} = {listing(values)}: nothing is left", allowed="fewer to hold out")
    return CutSet.from_cuts(rest), CutSet.from_cuts(cut for value in values for cut in by_group[value])


def hold_out_share(cuts: CutSet, share: float, *, seed: int = 0) -> tuple[CutSet, CutSet]:
    """Return (rest, about `share` of the utterances), drawn from `seed`; each has at least one.

    Raises `AsrLabError` if there are fewer than two utterances.
    """
    ids = sorted(cut.id for cut in cuts)
    if len(ids) < 2:
        raise AsrLabError(f"{len(ids)} utterance cannot be split into training and test", allowed="at least two")
    random.Random(seed).shuffle(ids)
    held_out = set(ids[: min(len(ids) - 1, max(1, round(len(ids) * share)))])
    rest = cuts.filter(lambda cut: cut.id not in held_out).to_eager()
    return rest, cuts.filter(lambda cut: cut.id in held_out).to_eager()


def draw(cuts: CutSet, number: int, *, seed: int = 0) -> CutSet:
    """Draw `number` utterances with `seed`; all for 0, or if there are fewer.

    A smaller number draws a subset of what a larger one draws.
    """
    ids = sorted(cut.id for cut in cuts)
    random.Random(seed).shuffle(ids)
    drawn = set(ids[: number or None])
    return cuts.filter(lambda cut: cut.id in drawn).to_eager()


def folds(cuts: CutSet, by: str | int, *, seed: int = 0) -> dict[str, str]:
    """Return utterance id -> fold: the value of a field, or one of `by` folds of equal size drawn from `seed`.

    Raises `AsrLabError` if the field is missing, or there are fewer utterances than folds.
    """
    if isinstance(by, str):
        return {cut.id: value for value, rows in groups(cuts, by).items() for cut in rows}
    ids = sorted(cut.id for cut in cuts)
    if not 2 <= by <= len(ids):
        raise AsrLabError(f"{len(ids)} utterances cannot be put into {by} folds", allowed=f"2 to {len(ids)}")
    random.Random(seed).shuffle(ids)
    width = len(str(by - 1))
    return {id: f"{position % by:0{width}}" for position, id in enumerate(ids)}


def halves(cuts: CutSet, by: str = "", *, seed: int = 0) -> tuple[CutSet, CutSet]:
    """Return two halves drawn from `seed`: of the values of a field if there are at least two, else of utterances."""
    by_value = groups(cuts, by) if by else {}
    units = [[cut.id for cut in rows] for _, rows in sorted(by_value.items())]
    if len(units) < 2:
        units = [[id] for id in sorted(cut.id for cut in cuts)]
    random.Random(seed).shuffle(units)
    first = {id for unit in units[: len(units) // 2] for id in unit}
    return cuts.filter(lambda cut: cut.id in first).to_eager(), cuts.filter(lambda cut: cut.id not in first).to_eager()
