"""Scores from 0 to 100, calibrated on validation data.

A phoneme's score is the probability, in percent, that it was pronounced correctly (Platt scaling: Platt 1999,
"Probabilistic outputs for support vector machines"). It is monotone in the error score, so the ranking does not change.
The score of a word, an utterance or a learner is the mean of its phonemes: their expected share of correct ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression

from asr_lab.errors import AsrLabError
from asr_lab.metrics.pronunciation.fusion import log_odds
from asr_lab.metrics.pronunciation.phonemes import by_phoneme

BEST_SCORE = 2.0  # of an expert, for a phoneme
_BINS = 10

Target = Literal["right", "experts"]


@dataclass(frozen=True)
class Calibration:
    """From a column of error scores to 0-100: 100 times the logistic function of slope * log odds + intercept."""

    column: str
    slope: float
    """At most 0: the likelier an error, the lower the score."""
    intercept: float
    target: Target
    """The target: correctly pronounced phonemes, or the mean score of experts as a share of the best score."""
    phonemes: int
    """Number of phonemes it was fitted on."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a JSON file beside the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Restore from the values of `to_json`."""
        return cls(**values)

    def scores(self, error_scores: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return the scores, 0-100, of the phonemes of an utterance."""
        shares: npt.NDArray[np.float64] = 1 / (
            1 + np.exp(-self.slope * log_odds(error_scores, self.column) - self.intercept)
        )
        return 100 * shares

    @property
    def meaning(self) -> str:
        """Describe what a score means, for users."""
        if self.target == "experts":
            return "A phoneme's score is the score that experts are expected to give it; 100 is their best."
        return "A phoneme's score is the probability, in percent, that it was pronounced correctly."


def calibrate(table: pd.DataFrame, column: str = "error_score", target: Target = "right") -> Calibration:
    """Fit a calibration to a (validation) table; raises `AsrLabError` if all its phonemes are correct, or all wrong."""
    if target == "experts":
        phonemes = by_phoneme(table, column, "phone_scores").dropna(subset="phone_scores")
        wanted = phonemes["phone_scores"].to_numpy(dtype=np.float64) / BEST_SCORE
    else:
        phonemes = by_phoneme(table, column, "errors")
        wanted = 1.0 - phonemes["errors"].to_numpy(dtype=np.float64)
    if not len(wanted) or wanted.min() == wanted.max():
        raise AsrLabError(
            "scores cannot be calibrated: the validation data has only correct phonemes, or only mispronounced ones",
            allowed="validation data with correct and with mispronounced phonemes",
        )
    odds = log_odds(phonemes[column], column)
    sides = np.repeat([1, 0], len(wanted))  # a share of s is a correct phoneme of weight s and a wrong one of 1 - s
    fitted = LogisticRegression(C=1e6).fit(
        np.tile(odds, 2)[:, None], sides, sample_weight=np.concatenate([wanted, 1 - wanted])
    )
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope > 0:  # scores that rank the wrong way carry no information
        slope, intercept = 0.0, float(np.log(wanted.mean() / (1 - wanted.mean())))
    return Calibration(column, slope, intercept, target, len(wanted))


def scored(table: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Add the scores of phonemes (`phone_points`), words (`word_points`) and utterances (`points`), 0-100.

    `word_points` has a value for each word of `words` in order, and is empty if the words are unknown.
    """
    points = [calibration.scores(row) for row in table[calibration.column]]
    words = table["words"] if "words" in table else [[] for _ in points]
    return table.assign(
        phone_points=[own.tolist() for own in points],
        word_points=[_of_words(own, places) for own, places in zip(points, words, strict=True)],
        points=[float(own.mean()) if len(own) else float("nan") for own in points],
    )


def overall(table: pd.DataFrame) -> float:
    """Return the mean score of all phonemes of a `scored` table; NaN if it has none."""
    points = np.concatenate([np.asarray(row, dtype=np.float64) for row in table["phone_points"]] or [np.array([])])
    return float(points.mean()) if len(points) else float("nan")


def calibration_error(table: pd.DataFrame, calibration: Calibration) -> float:
    """Return the expected calibration error in points, over ten equally large bins of phonemes.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
    """
    phonemes = by_phoneme(table, calibration.column, "errors")
    points = calibration.scores(phonemes[calibration.column])
    order = np.argsort(points, kind="stable")
    right = 100 * (1 - phonemes["errors"].to_numpy(dtype=np.float64))
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    return float(sum(len(part) * abs(points[part].mean() - right[part].mean()) for part in bins) / max(len(order), 1))


def _of_words(points: npt.NDArray[np.float64], words: Sequence[int]) -> list[float]:
    if not len(words):
        return []
    means = pd.Series(points).groupby(np.asarray(words), sort=False).mean()
    return [float(value) for value in means]
