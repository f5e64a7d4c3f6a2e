"""Stratified splits of whole speakers: the same share of each bin of age, SNR and duration in every split.

Shapes: G groups (speakers), K bins of all fields, S splits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.bins import labelled
from asr_lab.data.splits import groups, split_by
from asr_lab.errors import AsrLabError, listing, nearest

FIELDS = ("age", "age_group", "snr_db", "duration_s")
_SIZE_WEIGHT = 2.0  # of a split's hours against those of one of its bins
_PROPOSALS = 60_000  # moves and swaps of groups
_START_TEMPERATURE = 0.05  # of the annealing, in squared shares

Hours = npt.NDArray[np.float64]


def value(cut: Cut, name: str) -> object:
    """Return a field of an utterance, or its duration in seconds."""
    return cut.duration if name == "duration_s" else manifest.field(cut, name)


def labels(cuts: Sequence[Cut] | CutSet, fields: Sequence[str] = FIELDS) -> pd.DataFrame:
    """Return the bin of each utterance (row) in each field (column) that any of them has."""
    rows = list(cuts)
    columns = {name: pd.Series([value(cut, name) for cut in rows], dtype=object) for name in fields}
    return pd.DataFrame({name: labelled(column, name) for name, column in columns.items() if column.notna().any()})


def fields_of(cuts: CutSet, names: Sequence[str] | None) -> list[str]:
    """Return the fields to stratify by: those named, or for None `FIELDS` as known, if an age or an SNR is known.

    `duration` is `duration_s`. Raises `AsrLabError` for a name that no utterance has.
    """
    if names is not None:
        return present(cuts, names)
    known = list(labels(cuts))
    return known if {"age", "age_group", "snr_db"} & set(known) else []


def present(cuts: CutSet, fields: Sequence[str]) -> list[str]:
    """Return the fields, `duration` as `duration_s`; raises `AsrLabError` for one that no utterance has."""
    named = ["duration_s" if name == "duration" else name for name in fields]
    for name in named:
        if all(value(cut, name) is None for cut in cuts):
            near = nearest(name, {*FIELDS, *manifest.fields(cuts)} - {name})
            raise AsrLabError(
                f"no utterance has the field {name!r} to stratify by",
                hint=f"did you mean {near!r}?" if near else "",
                next_command="asr-lab data snr MANIFEST" if name == "snr_db" else "",
            )
    return named


def stratified_split(
    cuts: CutSet,
    shares: Mapping[str, float],
    *,
    fields: Sequence[str] = FIELDS,
    hard: Callable[[Cut], bool] = lambda cut: False,
    by: str = "speaker",
    seed: int = 0,
) -> dict[str, CutSet]:
    """Split whole groups as `splits.split_by` does, with equal shares of each bin, and of `hard` utterances, by hours.

    Starts from splits of the right size, then moves and swaps groups (simulated annealing, drawn from `seed`) to
    minimise the squared differences of the shares, relative to the size of the split.
    """
    start = split_by(cuts, shares, by=by, seed=seed)
    members = groups(cuts, by)
    names, splits = sorted(members), list(start)
    where = {name: index for index, split in enumerate(splits) for name in groups(start[split], by)}
    at = np.array([where[name] for name in names])
    wanted = np.array([shares[split] for split in splits])
    at = _annealed(_hours(members, names, fields, hard), at, wanted / wanted.sum(), random.Random(seed))
    parts = {split: [names[place] for place in np.flatnonzero(at == index)] for index, split in enumerate(splits)}
    return {
        split: CutSet.from_cuts(sorted((cut for name in own for cut in members[name]), key=lambda cut: cut.id))
        for split, own in parts.items()
    }


def stratified_folds(
    cuts: CutSet,
    folds: int,
    *,
    val: float,
    fields: Sequence[str] = FIELDS,
    hard: Callable[[Cut], bool] = lambda cut: False,
    by: str = "speaker",
    seed: int = 0,
) -> list[dict[str, CutSet]]:
    """Return the splits of each fold: each group is in `test` of one fold, in `train` or `val` of the others.

    `val` is a share of everything. Raises `AsrLabError` if there are too few groups.
    """
    tests = stratified_split(
        cuts, {str(n): 1 / folds for n in range(folds)}, fields=fields, hard=hard, by=by, seed=seed
    )
    splits_by_fold = []
    for number, test in tests.items():
        rest = CutSet.from_cuts(cut for other, own in tests.items() if other != number for cut in own)
        tested, left = groups(test, by), groups(rest, by)
        if val > 0 and len(left) < 2:
            raise AsrLabError(
                f"where {listing(sorted(tested))} is tested on, {listing(left)} alone is left to train and validate on",
                allowed=f"two values of {by!r} at least",
                hint="--val 0" + (f", or --folds {folds + 1}" if len(tested) + len(left) > folds else ""),
            )
        share = val / (1 - 1 / folds)
        made = stratified_split(rest, {"train": 1 - share, "val": share}, fields=fields, hard=hard, by=by, seed=seed)
        splits_by_fold.append(made | {"test": test})
    return splits_by_fold


def _hours(
    members: Mapping[str, Sequence[Cut]], names: Sequence[str], fields: Sequence[str], hard: Callable[[Cut], bool]
) -> Hours:
    """Return weighted hours (G, K) of each group: in total, hard, and in each bin of each field."""
    rows = [cut for name in names for cut in members[name]]
    group = np.repeat(np.arange(len(names)), [len(members[name]) for name in names])
    seconds = np.array([cut.duration for cut in rows])
    binned = labels(rows, fields)
    columns = [np.ones(len(rows)) * _SIZE_WEIGHT, np.array([float(hard(cut)) for cut in rows])]
    columns += [(binned[name] == label).to_numpy() for name in binned for label in binned[name].unique()]
    return np.stack([np.bincount(group, seconds * column, minlength=len(names)) for column in columns], axis=1)


def _annealed(
    hours_GK: Hours, at: npt.NDArray[np.int64], wanted_S: Hours, draw: random.Random
) -> npt.NDArray[np.int64]:
    """Return the best assignment of groups to splits by simulated annealing (Kirkpatrick et al. 1983) from `at`."""
    at, best, cost, least = at.copy(), at.copy(), 0.0, 0.0
    size_S = wanted_S * hours_GK[:, 0].sum()
    off_SK = np.stack([hours_GK[at == split].sum(axis=0) for split in range(len(wanted_S))])
    off_SK = (off_SK - wanted_S[:, None] * hours_GK.sum(axis=0)) / size_S[:, None]
    for step in range(_PROPOSALS if len(wanted_S) > 1 else 0):
        one, other = draw.randrange(len(at)), draw.randrange(len(at))
        here, there = at[one], at[other]
        swap = draw.random() < 0.5
        if here == there or (not swap and (at == here).sum() == 1):
            continue
        change_K = hours_GK[one] - (hours_GK[other] if swap else 0)
        new_here, new_there = off_SK[here] - change_K / size_S[here], off_SK[there] + change_K / size_S[there]
        worse = float((new_here**2 + new_there**2 - off_SK[here] ** 2 - off_SK[there] ** 2).sum())
        temperature = _START_TEMPERATURE * (1 - step / _PROPOSALS) ** 3
        if worse < 0 or draw.random() < np.exp(-worse / max(temperature, 1e-12)):
            off_SK[here], off_SK[there] = new_here, new_there
            at[one], at[other] = there, here if swap else there
            cost += worse
            if cost < least - 1e-12:
                best, least = at.copy(), cost
    return best
