"""Scores from 0 to 100 that mean something: calibrated on validation.

A phoneme's score is the chance in percent that it was said right, as often as that came true in the validation data
(Platt 1999, "Probabilistic outputs for support vector machines"): monotone in the error score, so that the ranking
stays. The score of a word, an utterance or a learner is the mean of its phonemes: the share of them that is expected to
be right.
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
    """What it is calibrated to: phonemes said right, or the mean score of experts as a share of the best."""
    phonemes: int
    """How many it was fitted on."""

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a JSON file beside the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Of what `to_json` gave."""
        return cls(**values)

    def scores(self, error_scores: Sequence[float]) -> npt.NDArray[np.float64]:
        """The scores, 0-100, of the phonemes of an utterance."""
        shares: npt.NDArray[np.float64] = 1 / (
            1 + np.exp(-self.slope * log_odds(error_scores, self.column) - self.intercept)
        )
        return 100 * shares

    @property
    def meaning(self) -> str:
        """What a score says, for people."""
        if self.target == "experts":
            return "A phoneme's score is what experts are expected to give it, 100 for their best."
        return "A phoneme's score is the chance, in percent, that it was said right."


def calibrate(table: pd.DataFrame, column: str = "error_score", target: Target = "right") -> Calibration:
    """The calibration that fits a (validation) table; raises `AsrLabError` where there is nothing to fit."""
    if target == "experts":
        phonemes = by_phoneme(table, column, "phone_scores").dropna(subset="phone_scores")
        wanted = phonemes["phone_scores"].to_numpy(dtype=np.float64) / BEST_SCORE
    else:
        phonemes = by_phoneme(table, column, "errors")
        wanted = 1.0 - phonemes["errors"].to_numpy(dtype=np.float64)
    if not len(wanted) or wanted.min() == wanted.max():
        raise AsrLabError(
            "all phonemes of the validation data are alike: scores cannot be calibrated",
            allowed="validation data with right and with mispronounced phonemes",
        )
    odds = log_odds(phonemes[column], column)
    sides = np.repeat([1, 0], len(wanted))  # a share is so much of a right one, and the rest of a wrong one
    fitted = LogisticRegression(C=1e6).fit(
        np.tile(odds, 2)[:, None], sides, sample_weight=np.concatenate([wanted, 1 - wanted])
    )
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope > 0:  # scores that say the contrary say nothing
        slope, intercept = 0.0, float(np.log(wanted.mean() / (1 - wanted.mean())))
    return Calibration(column, slope, intercept, target, len(wanted))


def scored(table: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """The table with the scores of phonemes (`phone_points`), words (`word_points`) and utterances (`points`), 0-100.

    `word_points` has a value for each word of `words` in order, and is empty where words are not known.
    """
    points = [calibration.scores(row) for row in table[calibration.column]]
    words = table["words"] if "words" in table else [[] for _ in points]
    return table.assign(
        phone_points=[own.tolist() for own in points],
        word_points=[_of_words(own, places) for own, places in zip(points, words, strict=True)],
        points=[float(own.mean()) if len(own) else float("nan") for own in points],
    )


def overall(table: pd.DataFrame) -> float:
    """The score of all phonemes of a `scored` table; NaN of none."""
    points = np.concatenate([np.asarray(row, dtype=np.float64) for row in table["phone_points"]] or [np.array([])])
    return float(points.mean()) if len(points) else float("nan")


def calibration_error(table: pd.DataFrame, calibration: Calibration) -> float:
    """How far scores are from what came true: the mean difference, in points, over ten equally large bins of phonemes.

    (The expected calibration error of Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian
    binning".)
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
    found = pd.Series(points).groupby(np.asarray(words), sort=False).mean()
    return [float(value) for value in found]
