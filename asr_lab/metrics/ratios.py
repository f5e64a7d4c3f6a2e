"""Metrics that are a ratio of sums over utterances; their differences can be tested on paired utterances."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from asr_lab.errors import AsrLabError
from asr_lab.metrics import error_rates, spacing
from asr_lab.metrics.significance import Interval, difference_interval, differing, ratio_difference_interval

Counts = tuple[pd.Series, pd.Series]
"""Numerator and denominator of each utterance."""


def f1_counts(table: pd.DataFrame) -> Counts:
    """Return (2 TR, 2 TR + FR + FA), the counts of F1 of flagged phonemes against mispronounced ones."""
    twice = 2 * table["true_rejects"]
    return twice, twice + table["false_rejects"] + table["false_accepts"]


def _f1(table: pd.DataFrame) -> Counts:
    if not (table["true_rejects"] + table["false_accepts"]).sum():
        raise AsrLabError("no phoneme is wrong: F1 is undefined")
    return f1_counts(table)


def _wer(table: pd.DataFrame) -> Counts:
    return error_rates.word_errors(table), table["words"]


def _cer(table: pd.DataFrame) -> Counts:
    return error_rates.character_errors(table), table["characters"]


def _per(table: pd.DataFrame) -> Counts:
    """Return counts of recognised phonemes (pronunciation), or of the phonemes of texts."""
    if "phone_errors" in table:
        return table["phone_errors"], table["phones"]
    return error_rates.phoneme_errors(table), table["phonemes"]


def _wer_no_space(table: pd.DataFrame) -> Counts:
    return table[spacing.WORDS], table["words"]


def _cer_no_space(table: pd.DataFrame) -> Counts:
    return table[spacing.CHARACTERS], table[spacing.LENGTH]


RATIOS: Mapping[str, Callable[[pd.DataFrame], Counts]] = {
    "wer": _wer,
    "cer": _cer,
    "per": _per,
    "error_f1": _f1,
    "wer_no_space": _wer_no_space,
    "cer_no_space": _cer_no_space,
}
"""Name of a metric without its split -> its counts."""


def rate_of(metric: str) -> str:
    """Return `error_f1` for `test/error_f1`; "" for a metric that is not a ratio of sums over utterances."""
    rate = metric.partition("/")[2]
    return rate if rate in RATIOS else ""


def counts(table: pd.DataFrame, rate: str) -> Counts:
    """Return the counts of each utterance; raises `AsrLabError` if the table lacks their columns."""
    try:
        return RATIOS[rate](table)
    except KeyError as error:
        raise AsrLabError(f"its utterances have no {error.args[0]}, which {rate} needs") from error


def value(table: pd.DataFrame, rate: str) -> float:
    """Return the ratio of the corpus; NaN if the denominator is 0."""
    above, below = counts(table, rate)
    return float(above.sum() / below.sum()) if below.sum() else float("nan")


def difference(table_a: pd.DataFrame, table_b: pd.DataFrame, rate: str) -> tuple[Interval, int]:
    """Return (the ratio of B minus that of A on the same utterances in the same order, how many utterances differ)."""
    (above_a, below_a), (above_b, below_b) = (
        [column.to_numpy(dtype=np.int64) for column in counts(table, rate)] for table in (table_a, table_b)
    )
    if (below_a == below_b).all():
        return difference_interval(above_a, above_b, below_a), differing(above_a, above_b)
    num_differing = int(((above_a != above_b) | (below_a != below_b)).sum())
    return ratio_difference_interval(above_a, below_a, above_b, below_b), num_differing
