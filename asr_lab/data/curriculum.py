"""Phases of a curriculum: nested parts of the training data, stratified by age, noise and duration.

Also the checks that phases are nested and that splits share no speaker.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from asr_lab.data.columns import by_id, durations, factor, field_names, ids, seconds, take
from asr_lab.data.leakage import shared_values
from asr_lab.data.stratified_splits import FIELDS, labels
from asr_lab.data.table_utterances import Positions
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.units import counted

if TYPE_CHECKING:
    from lhotse.cut import Cut

Order = Literal["stratified", "file"]
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Hard:
    """Criterion of a hard utterance: low SNR, or long."""

    below_snr_db: float = 10.0
    from_duration_s: float = 10.0

    def __call__(self, cut: Cut) -> bool:
        return bool(self.mask([cut])[0])

    def mask(self, cuts: Any) -> npt.NDArray[np.bool_]:
        """Return which utterances are hard (N,)."""
        snr = factor(cuts, "snr_db").of_each(lambda snr_db: snr_db is not None and snr_db < self.below_snr_db)
        hard: npt.NDArray[np.bool_] = np.logical_or(durations(cuts) >= self.from_duration_s, snr.astype(bool))
        return hard

    @property
    def words(self) -> str:
        """The criterion in words."""
        return f"SNR below {self.below_snr_db:g} dB or {self.from_duration_s:g} s and longer"


def phases(
    cuts: Any,
    shares: Sequence[float],
    *,
    order: Order = "stratified",
    fields: Sequence[str] = FIELDS,
    hard_share: float | None = None,
    hard: Hard | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return nested parts `phase1`, `phase2`, ... of the utterances with these shares, such as 0.2, 0.6, 1.0.

    Order `stratified`: shares of the hours, with the same proportions of each bin and speaker in every phase; with
    `hard_share`, that share of each phase is hard, as far as available. Order `file`: the first utterances of the
    manifest. Raises `AsrLabError` for shares that do not grow, or leave a phase without an utterance of its own.
    """
    _check_shares(shares)
    if order == "file":
        if hard_share is not None:
            raise AsrLabError("a share of hard utterances has no effect in file order", allowed="order stratified")
        parts = [np.arange(round(share * len(cuts))) for share in shares]
    elif hard_share is None:
        wanted = [share * seconds(cuts) for share in shares]
        parts = _prefixes(durations(cuts), _spread(cuts, fields, seed), wanted)
    else:
        parts = _with_hard(cuts, shares, hard_share, hard or Hard(), fields, seed)
    for number, part in enumerate(parts, start=1):
        if not len(part) or (number > 1 and len(part) == len(parts[number - 2])):
            raise AsrLabError(
                f"phase {number} of {len(parts)} would have no utterance of its own",
                allowed=f"fewer phases, or shares further apart, for {counted(len(cuts), 'utterance')}",
            )
    return {f"phase{number}": take(cuts, np.sort(part)) for number, part in enumerate(parts, start=1)}


def with_hard_share(
    cuts: Any,
    share: float,
    hard: Hard | None = None,
    *,
    seed: int = 0,
    name: str = "",
) -> Any:
    """Return the largest stratified subset with this share of hard utterances, by hours.

    Raises `AsrLabError`, with `name` in the message, if no utterance is hard, or all are.
    """
    mask = (hard or Hard()).mask(cuts)
    difficult, easy = take(cuts, np.flatnonzero(mask)), take(cuts, np.flatnonzero(~mask))
    if not 0 < share < 1 or not len(difficult) or not len(easy):
        unknown = (factor(cuts, "snr_db").codes < 0).any()
        raise AsrLabError(
            f"{len(difficult)} of {len(cuts)} utterances{name and f' of {name}'} are hard ({(hard or Hard()).words}): "
            f"no part has {share:.0%}",
            allowed="a share between 0 and 1, of utterances some of which are hard",
            hint="another --hard-snr or --hard-duration, or --seed",
            next_command="asr-lab data snr MANIFEST" if not len(difficult) and unknown else "",
        )
    total_s = min(seconds(difficult) / share, seconds(easy) / (1 - share))
    halves = [
        np.flatnonzero(hard_ones)[_prefixes(durations(rows), _spread(rows, FIELDS, seed), [part * total_s])[0]]
        for rows, hard_ones, part in ((difficult, mask, share), (easy, ~mask, 1 - share))
    ]
    return take(cuts, np.sort(np.concatenate(halves)))


def spread(cuts: Any, fields: Sequence[str] = FIELDS, *, seed: int = 0) -> Any:
    """Order utterances so that every prefix is stratified by bin and speaker.

    Sorted by bin and speaker, utterance i gets the fractional part of i times the golden ratio as its sort key: the
    most uniform sequence (Kuipers & Niederreiter 1974), so prefixes deviate by one or two utterances.
    """
    return take(cuts, _spread(cuts, fields, seed))


def _spread(cuts: Any, fields: Sequence[str], seed: int) -> Positions:
    """Return the positions in the order of `spread`."""
    rows = by_id(cuts).tolist()
    draw = random.Random(seed)
    draw.shuffle(rows)
    shuffled = np.array(rows, dtype=np.int64)
    speaker = factor(cuts, "speaker")
    bins = labels(cuts, fields)
    keys = [_ranks(list(bins[name].cat.categories))[bins[name].cat.codes] for name in bins]
    keys.append(_ranks([*map(str, speaker.values), "None"])[speaker.codes])
    order = np.lexsort([key[shuffled] for key in reversed(keys)])  # by its last key first
    fractions = (np.arange(len(rows)) * _GOLDEN + draw.random()) % 1
    return shuffled[order[np.argsort(fractions, kind="stable")]]


def _ranks(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the place of each name in alphabetical order, the same for equal ones."""
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]


def check_nested(parts: Mapping[str, Any]) -> None:
    """Raise `AsrLabError` unless each phase, in the given order, contains the previous one."""
    named = {name: ids(rows) for name, rows in parts.items()}
    for (before, smaller), (after, larger) in pairwise(named.items()):
        outside = pc.invert(pc.is_in(smaller, value_set=larger.combine_chunks()))
        lacking = sorted(set(smaller.filter(outside).to_pylist()))
        if lacking:
            raise AsrLabError(
                f"the phases are not nested: {after} lacks {len(lacking)} of the {len(smaller)} utterances of "
                f"{before}: {listing(lacking, 5)}",
                allowed="phases each of which holds all of the one before",
                next_command="asr-lab data phases TRAIN OUT --shares 0.2,0.6,1.0",
            )


def check_disjoint(splits: Mapping[str, Any], by: str = "speaker") -> int:
    """Raise `AsrLabError` if two splits share values of a field (speakers), or a split has none.

    Return the number of utterances without the field, which cannot be checked.
    """
    columns = {name: factor(rows, by) for name, rows in splits.items()}
    values = {name: set(map(str, column.values)) for name, column in columns.items()}
    without = [name for name, own in values.items() if not own]
    if without:
        near = nearest(by, set().union(*map(field_names, splits.values())) - {by})
        raise AsrLabError(
            f"no utterance has the field {by!r}",
            where=listing(without) if len(without) < len(splits) else "",
            hint=f"did you mean {near!r}?" if near else "",
        )
    if shared := shared_values(values, combinations(values, 2)):
        overlaps = "; ".join(f"{pair} share {len(names)}: {listing(names, 5)}" for pair, names in shared.items())
        raise AsrLabError(
            f"the splits are not disjoint by {by}: {overlaps}",
            allowed=f"no {by} in two splits: test results of training {by}s are too optimistic",
            next_command="asr-lab data split MANIFEST OUT",
        )
    return sum(int((column.codes < 0).sum()) for column in columns.values())


def _check_shares(shares: Sequence[float]) -> None:
    if not shares or any(not 0 < share <= 1 for share in shares) or any(a >= b for a, b in pairwise(shares)):
        raise AsrLabError(
            f"shares {', '.join(f'{share:g}' for share in shares) or 'of nothing'} make no nested phases",
            allowed="growing shares above 0 up to 1, such as 0.2,0.6,1.0",
        )


def _with_hard(
    cuts: Any, shares: Sequence[float], hard_share: float, hard: Hard, fields: Sequence[str], seed: int
) -> list[Positions]:
    """Return prefixes of the hard and of the easy utterances; both only grow, so the phases stay nested."""
    if not 0 <= hard_share <= 1:
        raise AsrLabError(f"{hard_share:g} is not a share", allowed="0 to 1")
    mask = hard.mask(cuts)
    places = np.flatnonzero(mask), np.flatnonzero(~mask)
    difficult, easy = (take(cuts, part) for part in places)
    total, most_hard, most_easy = seconds(cuts), seconds(difficult), seconds(easy)
    of_hard = [min(max(hard_share * share * total, share * total - most_easy), most_hard) for share in shares]
    of_easy = [share * total - taken for share, taken in zip(shares, of_hard, strict=True)]
    one, other = (
        [own[prefix] for prefix in _prefixes(durations(rows), _spread(rows, fields, seed), wanted)]
        for rows, own, wanted in ((difficult, places[0], of_hard), (easy, places[1], of_easy))
    )
    return [np.concatenate([left, right]) for left, right in zip(one, other, strict=True)]


def _prefixes(duration_s: npt.NDArray[np.float64], order: Positions, wanted: Sequence[float]) -> list[Positions]:
    """Return the prefixes of `order` closest to these durations."""
    ends = np.cumsum([0.0, *duration_s[order].tolist()])
    return [order[: int(np.abs(ends - total).argmin())] for total in wanted]
