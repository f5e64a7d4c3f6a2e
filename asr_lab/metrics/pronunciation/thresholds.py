"""From which error score on a phoneme is flagged: chosen on validation, never on test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from asr_lab.errors import AsrLabError
from asr_lab.metrics.pronunciation.phonemes import by_phoneme

OTHERS = "*"
"""Stands in a table of thresholds for the phonemes that have none of their own."""
FEWEST = 10
"""Errors, and correct ones, that a phoneme needs for a threshold of its own."""

Threshold = float | Mapping[str, float]


def cut(canonical: pd.Series, threshold: Threshold) -> npt.NDArray[np.float64]:
    """The threshold of each phoneme of a series."""
    if isinstance(threshold, Mapping):
        return np.array([threshold.get(one, threshold[OTHERS]) for one in canonical], dtype=np.float64)
    return np.full(len(canonical), threshold, dtype=np.float64)


def choose_threshold(table: pd.DataFrame, column: str = "error_score") -> float:
    """The threshold with the highest F1 of the error class on a (validation) table.

    Raises `AsrLabError` when it has no errors.
    """
    return _chosen(_phonemes(table, column), column, {OTHERS})[OTHERS]


def choose_phone_thresholds(table: pd.DataFrame, column: str = "gop", fewest: int = FEWEST) -> dict[str, float]:
    """A threshold a phoneme, together those with the highest F1 of the error class over all phonemes.

    Phonemes with fewer than so many errors, or correct ones, share the one of `*`. Raises `AsrLabError` when there are
    no errors.
    """
    phonemes = _phonemes(table, column)
    counts = phonemes.groupby("canonical")["errors"].agg(["sum", "size"])
    own = counts[(counts["sum"] >= fewest) & (counts["size"] - counts["sum"] >= fewest)].index
    groups = phonemes.assign(canonical=phonemes["canonical"].where(phonemes["canonical"].isin(own), OTHERS))
    found = _chosen(groups, column, {*own, OTHERS})
    return dict(sorted(found.items()))


def _phonemes(table: pd.DataFrame, column: str) -> pd.DataFrame:
    phonemes = by_phoneme(table, column, "errors")
    if not (phonemes["errors"] == 1).any():
        raise AsrLabError(
            "no phoneme of the validation data is wrong: no threshold can be chosen",
            allowed="validation data with mispronounced phonemes",
        )
    return phonemes


def _chosen(phonemes: pd.DataFrame, column: str, groups: set[str]) -> dict[str, float]:
    """A threshold a group of phonemes, at which F1 over all is highest.

    F1 = 2 TR / (flagged + errors) is a ratio of sums. For a given F the groups come apart: each flags where
    2 TR - F * flagged is highest. F grows until it is the F1 so reached (Dinkelbach 1967, "On nonlinear fractional
    programming").
    """
    alone = groups == {OTHERS}
    parts = {name: phonemes if alone else phonemes[phonemes["canonical"] == name] for name in groups}
    curves = {name: _curve(part, column) for name, part in parts.items()}
    total, best = int((phonemes["errors"] == 1).sum()), 0.0
    while True:
        places = {name: int(np.argmax(2 * hits - best * flags)) for name, (_, hits, flags) in curves.items()}
        hits = sum(int(curves[name][1][place]) for name, place in places.items())
        flags = sum(int(curves[name][2][place]) for name, place in places.items())
        reached = 2 * hits / (flags + total)
        if reached <= best:
            break
        best = reached
    found = {name: float(curves[name][0][place]) for name, place in places.items()}
    if not len(parts[OTHERS]):  # no rare ones here: another data set may have some
        found[OTHERS] = float(np.median([found[name] for name in groups - {OTHERS}]))
    return found


Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _curve(phonemes: pd.DataFrame, column: str) -> Curve:
    """(Thresholds, errors flagged, phonemes flagged), from flagging nothing to all, midway between scores."""
    scores = phonemes[column].to_numpy(dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, errors = scores[order], phonemes["errors"].to_numpy()[order].astype(np.int64)
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True)) if len(scores) else np.array([], dtype=np.int64)
    below = np.append(scores[last[:-1] + 1], scores[-1:])
    top = np.nextafter(scores[:1], np.inf) if len(scores) else np.array([np.inf])
    thresholds = np.concatenate([top, (scores[last] + below) / 2])
    return thresholds, np.append(0, np.cumsum(errors)[last]), np.append(0, last + 1)
