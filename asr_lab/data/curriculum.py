"""Phases of a curriculum: nested parts of the training data, stratified by age, noise and duration.

Also the checks that phases are nested and that splits share no speaker.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.leakage import shared_values
from asr_lab.data.stratified_splits import FIELDS, labels
from asr_lab.errors import AsrLabError, listing, nearest

Order = Literal["stratified", "file"]
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Hard:
    """Criterion of a hard utterance: low SNR, or long."""

    below_snr_db: float = 10.0
    from_duration_s: float = 10.0

    def __call__(self, cut: Cut) -> bool:
        snr_db = manifest.field(cut, "snr_db")
        return cut.duration >= self.from_duration_s or (snr_db is not None and snr_db < self.below_snr_db)

    @property
    def words(self) -> str:
        """The criterion in words."""
        return f"SNR below {self.below_snr_db:g} dB or {self.from_duration_s:g} s and longer"


def phases(
    cuts: CutSet,
    shares: Sequence[float],
    *,
    order: Order = "stratified",
    fields: Sequence[str] = FIELDS,
    hard_share: float | None = None,
    hard: Hard | None = None,
    seed: int = 0,
) -> dict[str, CutSet]:
    """Return nested parts `phase1`, `phase2`, ... of the utterances with these shares, such as 0.2, 0.6, 1.0.

    Order `stratified`: shares of the hours, with the same proportions of each bin and speaker in every phase; with
    `hard_share`, that share of each phase is hard, as far as available. Order `file`: the first utterances of the
    manifest. Raises `AsrLabError` for shares that do not grow, or leave a phase without an utterance of its own.
    """
    _check_shares(shares)
    if order == "file":
        if hard_share is not None:
            raise AsrLabError("a share of hard utterances has no effect in file order", allowed="order stratified")
        parts = [list(cuts)[: round(share * len(cuts))] for share in shares]
    elif hard_share is None:
        parts = _prefixes(spread(cuts, fields, seed=seed), [share * _seconds(cuts) for share in shares])
    else:
        parts = _with_hard(cuts, shares, hard_share, hard or Hard(), fields, seed)
    for number, part in enumerate(parts, start=1):
        if not part or (number > 1 and len(part) == len(parts[number - 2])):
            raise AsrLabError(
                f"phase {number} of {len(parts)} would have no utterance of its own",
                allowed=f"fewer phases, or shares further apart, for {len(cuts)} utterances",
            )
    return {f"phase{number}": _in_order(cuts, part) for number, part in enumerate(parts, start=1)}


def with_hard_share(
    cuts: CutSet,
    share: float,
    hard: Hard | None = None,
    *,
    fields: Sequence[str] = FIELDS,
    seed: int = 0,
    name: str = "",
) -> CutSet:
    """Return the largest stratified subset with this share of hard utterances, by hours.

    Raises `AsrLabError`, with `name` in the message, if no utterance is hard, or all are.
    """
    difficult, easy = _split_hard_easy(cuts, hard or Hard())
    if not 0 < share < 1 or not difficult or not easy:
        unknown = any(manifest.field(cut, "snr_db") is None for cut in cuts)
        raise AsrLabError(
            f"{len(difficult)} of {len(cuts)} utterances{name and f' of {name}'} are hard ({(hard or Hard()).words}): "
            f"no part has {share:.0%}",
            allowed="a share between 0 and 1, of utterances some of which are hard",
            hint="another --hard-snr or --hard-duration, or --seed",
            next_command="asr-lab data snr MANIFEST" if not difficult and unknown else "",
        )
    total_s = min(_seconds(difficult) / share, _seconds(easy) / (1 - share))
    halves = [
        _prefixes(spread(rows, fields, seed=seed), [part * total_s])[0]
        for rows, part in ((difficult, share), (easy, 1 - share))
    ]
    return _in_order(cuts, halves[0] + halves[1])


def spread(cuts: Iterable[Cut], fields: Sequence[str] = FIELDS, *, seed: int = 0) -> list[Cut]:
    """Order utterances so that every prefix is stratified by bin and speaker.

    Sorted by bin and speaker, utterance i gets the fractional part of i times the golden ratio as its sort key: the
    most uniform sequence (Kuipers & Niederreiter 1974), so prefixes deviate by one or two utterances.
    """
    rows = sorted(cuts, key=lambda cut: cut.id)
    draw = random.Random(seed)
    draw.shuffle(rows)
    names = labels(rows, fields)
    keys = list(zip(*(names[field] for field in names), strict=True)) if len(names.columns) else [()] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: (*keys[place], str(manifest.field(rows[place], "speaker"))))
    fractions = (np.arange(len(rows)) * _GOLDEN + draw.random()) % 1
    return [rows[order[index]] for index in np.argsort(fractions, kind="stable")]


def check_nested(parts: Mapping[str, Iterable[Cut]]) -> None:
    """Raise `AsrLabError` unless each phase, in the given order, contains the previous one."""
    ids = {name: {cut.id for cut in rows} for name, rows in parts.items()}
    for (before, smaller), (after, larger) in pairwise(ids.items()):
        lacking = sorted(smaller - larger)
        if lacking:
            raise AsrLabError(
                f"the phases are not nested: {after} lacks {len(lacking)} of the {len(smaller)} utterances of "
                f"{before}: {listing(lacking, 5)}",
                allowed="phases each of which holds all of the one before",
                next_command="asr-lab data phases TRAIN OUT --shares 0.2,0.6,1.0",
            )


def check_disjoint(splits: Mapping[str, Sequence[Cut] | CutSet], by: str = "speaker") -> int:
    """Raise `AsrLabError` if two splits share values of a field (speakers), or a split has none.

    Return the number of utterances without the field, which cannot be checked.
    """
    values_by_split = {name: [manifest.field(cut, by) for cut in rows] for name, rows in splits.items()}
    values = {name: {str(value) for value in own if value is not None} for name, own in values_by_split.items()}
    without = [name for name, own in values.items() if not own]
    if without:
        near = nearest(by, manifest.fields(cut for rows in splits.values() for cut in rows) - {by})
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
    return sum(value is None for own in values_by_split.values() for value in own)


def _check_shares(shares: Sequence[float]) -> None:
    if not shares or any(not 0 < share <= 1 for share in shares) or any(a >= b for a, b in pairwise(shares)):
        raise AsrLabError(
            f"shares {', '.join(f'{share:g}' for share in shares) or 'of nothing'} make no nested phases",
            allowed="growing shares above 0 up to 1, such as 0.2,0.6,1.0",
        )


def _with_hard(
    cuts: CutSet, shares: Sequence[float], hard_share: float, hard: Hard, fields: Sequence[str], seed: int
) -> list[list[Cut]]:
    """Return prefixes of the hard and of the easy utterances; both only grow, so the phases stay nested."""
    if not 0 <= hard_share <= 1:
        raise AsrLabError(f"{hard_share:g} is not a share", allowed="0 to 1")
    difficult, easy = _split_hard_easy(cuts, hard)
    total, most_hard, most_easy = _seconds(cuts), _seconds(difficult), _seconds(easy)
    of_hard = [min(max(hard_share * share * total, share * total - most_easy), most_hard) for share in shares]
    of_easy = [share * total - seconds for share, seconds in zip(shares, of_hard, strict=True)]
    one = _prefixes(spread(difficult, fields, seed=seed), of_hard)
    other = _prefixes(spread(easy, fields, seed=seed), of_easy)
    return [left + right for left, right in zip(one, other, strict=True)]


def _split_hard_easy(cuts: Iterable[Cut], hard: Hard) -> tuple[list[Cut], list[Cut]]:
    difficult: list[Cut] = []
    easy: list[Cut] = []
    for cut in cuts:
        (difficult if hard(cut) else easy).append(cut)
    return difficult, easy


def _prefixes(rows: Sequence[Cut], seconds: Sequence[float]) -> list[list[Cut]]:
    """Return the prefixes closest to these durations."""
    ends = np.cumsum([0.0, *(cut.duration for cut in rows)])
    return [list(rows[: int(np.abs(ends - wanted).argmin())]) for wanted in seconds]


def _in_order(cuts: CutSet, part: Iterable[Cut]) -> CutSet:
    wanted = {cut.id for cut in part}
    return CutSet.from_cuts(cut for cut in cuts if cut.id in wanted)


def _seconds(cuts: Iterable[Cut]) -> float:
    return float(sum(cut.duration for cut in cuts))
