"""Error rates by slice of a corpus (speaker, gender, age, SNR, duration, ...), each with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from asr_lab.data.bins import labelled, ordered
from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import rate_interval

FEW_WORDS = 50  # a slice with fewer is marked

COLUMNS: Mapping[str, str] = {
    "speaker": "speaker",
    "gender": "gender",
    "age": "age",
    "age_group": "age_group",
    "snr": "snr_db",
    "duration": "duration_s",
    "l1": "l1",
    "block": "block",
    "trained_on": "trained_on",
    "training_speaker": "training_speaker",
}
"""Slice -> its column of a score table."""


def labels(table: pd.DataFrame) -> pd.DataFrame:
    """Return the slices of each utterance, one column per slice with at least two values."""
    labelled_columns = {}
    for name, column in COLUMNS.items():
        if column in table:
            values = labelled(table[column], column)
            if values.nunique() > 1:
                labelled_columns[name] = values
    return pd.DataFrame(labelled_columns, index=table.index)


def slices(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per slice and value: `slice, value, utterances, words, errors, wer, low, high, cer, few`.

    `table` is that of `error_rates.score` with the columns to slice by; `few` marks slices with fewer than 50 words.
    """
    rows = []
    errors = error_rates.word_errors(table)
    for name, values in labels(table).items():
        for value in ordered(values):
            part = values == value
            interval = rate_interval(errors[part].to_numpy(), table.loc[part, "words"].to_numpy())
            words = int(table.loc[part, "words"].sum())
            rows.append(
                {
                    "slice": name,
                    "value": value,
                    "utterances": int(part.sum()),
                    "words": words,
                    "errors": int(errors[part].sum()),
                    "wer": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "cer": error_rates.cer(table[part]),
                    "few": words < FEW_WORDS,
                }
            )
    columns = ["slice", "value", "utterances", "words", "errors", "wer", "low", "high", "cer", "few"]
    return pd.DataFrame(rows, columns=columns)
