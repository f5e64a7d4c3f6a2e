"""Sequences of phonemes: alignment, error counts, and the phoneme error rate of a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from rapidfuzz.distance import Levenshtein

from asr_lab.data.pronunciation import DELETED
from asr_lab.metrics.significance import Interval, rate_interval

Pair = tuple[str | None, str | None]


def perceived_sequence(perceived: Sequence[str], insertions: Iterable[Sequence[str]]) -> list[str]:
    """Return the perceived phonemes in order, without deleted ones and with inserted ones.

    `insertions` are N + 1 lists, before the first and after each of the N of `perceived`; empty if there are none.
    """
    added = [list(part) for part in insertions] or [[] for _ in range(len(perceived) + 1)]
    own = [[] if phoneme == DELETED else [phoneme] for phoneme in perceived]
    return [phoneme for part, after in zip([[], *own], added, strict=True) for phoneme in (*part, *after)]


def phone_errors(reference: Sequence[str], recognised: Sequence[str]) -> tuple[int, int]:
    """Return (substituted, deleted and inserted phonemes, phonemes of the reference)."""
    return int(Levenshtein.distance(list(reference), list(recognised))), len(reference)


def with_phone_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Add `phone_errors` and `phones` of each utterance, and both sides as text.

    `reference` has the perceived and `hypothesis` the recognised phonemes, separated by spaces: the columns by which
    runs are compared per utterance.
    """
    spoken = [perceived_sequence(*row) for row in zip(table["perceived"], table["insertions"], strict=True)]
    counted = [phone_errors(*row) for row in zip(spoken, table["recognised"], strict=True)]
    return table.assign(
        reference=[" ".join(row) for row in spoken],
        hypothesis=[" ".join(row) for row in table["recognised"]],
        phone_errors=[errors for errors, _ in counted],
        phones=[length for _, length in counted],
    )


def per(table: pd.DataFrame) -> Interval:
    """Return the PER of the corpus, recognised against perceived, with its interval; NaN without perceived phonemes."""
    counted = table if "phone_errors" in table else with_phone_errors(table)
    return rate_interval(counted["phone_errors"].to_numpy(), counted["phones"].to_numpy())


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """Return (reference phoneme, hypothesis phoneme) in order, None for a gap.

    Of the alignments with the fewest errors it is the one of Kaldi's `align-text`: traced back from the end, a pair
    before a deletion before an insertion. The choice moves the F1 of published results by two points; libraries choose
    others, so none is used here.
    """
    costs = _costs(reference, hypothesis)
    m, n = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while m or n:
        alike = costs[m - 1][n - 1] + (reference[m - 1] != hypothesis[n - 1]) if m and n else m + n + 1
        deleted = costs[m - 1][n] if m else m + n
        inserted = costs[m][n - 1] if n else m + n
        if alike <= 1 + min(deleted, inserted):
            m, n = m - 1, n - 1
            pairs.append((reference[m], hypothesis[n]))
        elif deleted <= inserted:
            m -= 1
            pairs.append((reference[m], None))
        else:
            n -= 1
            pairs.append((None, hypothesis[n]))
    return pairs[::-1]


def _costs(reference: Sequence[str], hypothesis: Sequence[str]) -> list[list[int]]:
    """Return the edit distance from the first m phonemes to the first n of the other, at [m][n]."""
    rows = [list(range(len(hypothesis) + 1))]
    for m, phoneme in enumerate(reference, start=1):
        above, left = rows[-1], m
        row = [m]
        for n, other in enumerate(hypothesis):
            paired = above[n] + (phoneme != other)
            left = min(paired, above[n + 1] + 1, left + 1)
            row.append(left)
        rows.append(row)
    return rows


def recognised_by_canonical(canonical: Sequence[str], recognised: Sequence[str]) -> list[str]:
    """Return the recognised phoneme aligned with each canonical one, `<del>` for none."""
    return [DELETED if other is None else other for one, other in align(canonical, recognised) if one is not None]
