"""Stratified splits of whole speakers: the same share of each bin of age, SNR and duration in every split.

Shapes: G groups (speakers), K bins of all fields, S splits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asr_lab.data.bins import labelled
from asr_lab.data.columns import durations, factor, field_names, joined
from asr_lab.data.splits import assign, in_id_order, positions
from asr_lab.data.table_utterances import Positions
from asr_lab.errors import AsrLabError, listing, nearest

FIELDS = ("age", "age_group", "snr_db", "duration_s")
_SIZE_WEIGHT = 2.0  # of a split's hours against those of one of its bins
_PROPOSALS = 60_000  # moves and swaps of groups
_START_TEMPERATURE = 0.05  # of the annealing, in squared shares

Hours = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def labels(cuts: Any, fields: Sequence[str] = FIELDS) -> pd.DataFrame:
    """Return the bin of each utterance (row) in each field (column) that any of them has, as categories."""
    columns = {}
    for name in fields:
        column = factor(cuts, name)
        if not column.values:
            continue
        of_values = labelled(pd.Series([*column.values, None], dtype=object), name)
        codes, names = pd.factorize(of_values)
        columns[name] = pd.Categorical.from_codes(codes[column.codes], list(names))
    return pd.DataFrame(columns, index=pd.RangeIndex(len(cuts)))


def fields_of(cuts: Any, names: Sequence[str] | None) -> list[str]:
    """Return the fields to stratify by: those named, or for None `FIELDS` as known, if an age or an SNR is known.

    `duration` is `duration_s`. Raises `AsrLabError` for a name that no utterance has.
    """
    if names is not None:
        return present(cuts, names)
    known = list(labels(cuts))
    return known if {"age", "age_group", "snr_db"} & set(known) else []


def present(cuts: Any, fields: Sequence[str]) -> list[str]:
    """Return the fields, `duration` as `duration_s`; raises `AsrLabError` for one that no utterance has."""
    named = ["duration_s" if name == "duration" else name for name in fields]
    for name in named:
        if not factor(cuts, name).values:
            near = nearest(name, {*FIELDS, *field_names(cuts)} - {name})
            raise AsrLabError(
                f"no utterance has the field {name!r} to stratify by",
                hint=f"did you mean {near!r}?" if near else "",
                next_command="asr-lab data snr MANIFEST" if name == "snr_db" else "",
            )
    return named


def stratified_split(
    cuts: Any,
    shares: Mapping[str, float],
    *,
    fields: Sequence[str] = FIELDS,
    hard: Callable[[Any], Mask] | None = None,
    by: str = "speaker",
    seed: int = 0,
) -> dict[str, Any]:
    """Split whole groups as `splits.split_by` does, with equal shares of each bin, and of `hard` utterances, by hours.

    Starts from splits of the right size, then moves and swaps groups (simulated annealing, drawn from `seed`) to
    minimise the squared differences of the shares, relative to the size of the split.
    """
    by_group, duration_s = positions(cuts, by), durations(cuts)
    wanted = {split: share for split, share in shares.items() if share > 0}
    start = assign(by_group, duration_s, wanted, by=by, seed=seed)
    names, splits = sorted(by_group), list(start)
    where = {name: index for index, split in enumerate(splits) for name in start[split]}
    at = np.array([where[name] for name in names])
    wanted_S = np.array([wanted[split] for split in splits])
    hours = _hours(cuts, [by_group[name] for name in names], duration_s, fields, hard)
    at = _annealed(hours, at, wanted_S / wanted_S.sum(), random.Random(seed))
    return {
        split: in_id_order(cuts, np.concatenate([by_group[names[place]] for place in np.flatnonzero(at == index)]))
        for index, split in enumerate(splits)
    }


def stratified_folds(
    cuts: Any,
    folds: int,
    *,
    val: float,
    fields: Sequence[str] = FIELDS,
    hard: Callable[[Any], Mask] | None = None,
    by: str = "speaker",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the splits of each fold: each group is in `test` of one fold, in `train` or `val` of the others.

    `val` is a share of everything. Raises `AsrLabError` if there are too few groups.
    """
    tests = stratified_split(
        cuts, {str(n): 1 / folds for n in range(folds)}, fields=fields, hard=hard, by=by, seed=seed
    )
    splits_by_fold = []
    for number, test in tests.items():
        rest = joined([own for other, own in tests.items() if other != number])
        tested, left = positions(test, by), positions(rest, by)
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
    cuts: Any,
    groups: Sequence[Positions],
    duration_s: Hours,
    fields: Sequence[str],
    hard: Callable[[Any], Mask] | None,
) -> Hours:
    """Return weighted hours (G, K) of each group: in total, hard, and in each bin of each field."""
    order = np.concatenate(groups)
    group = np.repeat(np.arange(len(groups)), [len(places) for places in groups])
    seconds = duration_s[order]

    def of_groups(weights: Any) -> Hours:
        return np.bincount(group, seconds * weights, minlength=len(groups)).astype(np.float64)

    columns = [of_groups(_SIZE_WEIGHT), of_groups(hard(cuts)[order] if hard else 0.0)]
    bins = labels(cuts, fields)
    for name in bins:
        codes = bins[name].cat.codes.to_numpy()[order]
        columns += [of_groups(codes == code) for code in pd.unique(codes)]
    return np.stack(columns, axis=1)


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
