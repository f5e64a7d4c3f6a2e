"""Thresholds of error scores from which a phoneme is flagged, chosen on validation data, never on test data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from asr_lab.errors import AsrLabError
from asr_lab.metrics.pronunciation.phonemes import by_phoneme

OTHERS = "*"
"""Key of the threshold of phonemes without one of their own."""
FEWEST = 10
"""Fewest errors, and fewest correct ones, of a phoneme with a threshold of its own."""

Threshold = float | Mapping[str, float]


def cut(canonical: pd.Series, threshold: Threshold) -> npt.NDArray[np.float64]:
    """Return the threshold of each phoneme."""
    if isinstance(threshold, Mapping):
        return np.array([threshold.get(one, threshold[OTHERS]) for one in canonical], dtype=np.float64)
    return np.full(len(canonical), threshold, dtype=np.float64)


def choose_threshold(table: pd.DataFrame, column: str = "error_score") -> float:
    """Choose the threshold with the highest F1 of the error class on a (validation) table.

    Raises `AsrLabError` if it has no errors.
    """
    return _chosen(_phonemes(table, column), column, {OTHERS})[OTHERS]


def choose_phone_thresholds(table: pd.DataFrame, column: str = "gop", fewest: int = FEWEST) -> dict[str, float]:
    """Choose a threshold per phoneme, together those with the highest F1 of the error class over all phonemes.

    Phonemes with fewer than `fewest` errors, or correct ones, share the one of `*`. Raises `AsrLabError` without
    errors.
    """
    phonemes = _phonemes(table, column)
    counts = phonemes.groupby("canonical")["errors"].agg(["sum", "size"])
    own = counts[(counts["sum"] >= fewest) & (counts["size"] - counts["sum"] >= fewest)].index
    groups = phonemes.assign(canonical=phonemes["canonical"].where(phonemes["canonical"].isin(own), OTHERS))
    return dict(sorted(_chosen(groups, column, {*own, OTHERS}).items()))


def _phonemes(table: pd.DataFrame, column: str) -> pd.DataFrame:
    phonemes = by_phoneme(table, column, "errors")
    if not (phonemes["errors"] == 1).any():
        raise AsrLabError(
            "no threshold can be chosen: the validation data has no mispronounced phoneme",
            allowed="validation data with mispronounced phonemes",
        )
    return phonemes


def _chosen(phonemes: pd.DataFrame, column: str, groups: set[str]) -> dict[str, float]:
    """Return the thresholds of groups of phonemes with the highest F1 over all.

    F1 = 2 TR / (flagged + errors) is a ratio of sums. For a given F the groups are independent: each flags where
    2 TR - F * flagged is highest. F increases to the F1 so reached (Dinkelbach 1967, "On nonlinear fractional
    programming").
    """
    alone = groups == {OTHERS}
    parts = {name: phonemes if alone else phonemes[phonemes["canonical"] == name] for name in groups}
    curves = {name: _curve(part, column) for name, part in parts.items()}
    total, best = int((phonemes["errors"] == 1).sum()), 0.0
    while True:
        steps = {name: int(np.argmax(2 * hits - best * flags)) for name, (_, hits, flags) in curves.items()}
        hits = sum(int(curves[name][1][step]) for name, step in steps.items())
        flags = sum(int(curves[name][2][step]) for name, step in steps.items())
        reached = 2 * hits / (flags + total)
        if reached <= best:
            break
        best = reached
    thresholds = {name: float(curves[name][0][step]) for name, step in steps.items()}
    if not len(parts[OTHERS]):  # none here, but another data set may have some
        thresholds[OTHERS] = float(np.median([thresholds[name] for name in groups - {OTHERS}]))
    return thresholds


Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _curve(phonemes: pd.DataFrame, column: str) -> Curve:
    """Return (thresholds midway between scores, errors flagged, phonemes flagged), from flagging nothing to all."""
    scores = phonemes[column].to_numpy(dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, errors = scores[order], phonemes["errors"].to_numpy()[order].astype(np.int64)
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True)) if len(scores) else np.array([], dtype=np.int64)
    below = np.append(scores[last[:-1] + 1], scores[-1:])
    top = np.nextafter(scores[:1], np.inf) if len(scores) else np.array([np.inf])
    thresholds = np.concatenate([top, (scores[last] + below) / 2])
    return thresholds, np.append(0, np.cumsum(errors)[last]), np.append(0, last + 1)
