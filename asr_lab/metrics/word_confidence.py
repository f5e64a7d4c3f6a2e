"""Whether the confidence of recognised words is worth anything: its ranking, and its calibration.

Calibrated confidence is the probability that a word is right (Platt 1999, "Probabilistic outputs for support vector
machines"), fitted on validation data; it ranks words as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from asr_lab.errors import AsrLabError
from asr_lab.metrics.error_rates import alignment

_BINS = 10
_LEAST = 1e-4  # distance of a probability from 0 and 1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Probability of a right word: the logistic function of slope * log odds of its confidence + intercept."""

    slope: float
    intercept: float

    def __call__(self, confidences: Sequence[float]) -> Floats:
        calibrated: Floats = 1 / (1 + np.exp(-self.slope * _log_odds(confidences) - self.intercept))
        return calibrated


def _log_odds(confidences: Sequence[float]) -> Floats:
    clipped: Floats = np.clip(np.asarray(confidences, dtype=np.float64), _LEAST, 1 - _LEAST)
    return np.log(clipped / (1 - clipped))


def calibrate(words: pd.DataFrame) -> Calibration:
    """Fit a calibration to words with `confidence` and `right`; raises `AsrLabError` if all are right, or all wrong."""
    right = words["right"].to_numpy(dtype=bool)
    if right.all() or not right.any():
        raise AsrLabError(
            f"confidence cannot be calibrated: {right.sum()} of {len(right)} recognised words are right",
            allowed="validation data with right and with wrong words",
        )
    fitted = LogisticRegression(C=1e6).fit(_log_odds(words["confidence"])[:, None], right)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def right_words(reference: str, hypothesis: str) -> list[bool]:
    """Return for each word of the hypothesis whether it is right, by the alignment that error rates count."""
    return [kind == "equal" for kind, _, word in alignment(reference, hypothesis) if word]


def calibration_error(words: pd.DataFrame) -> float:
    """Return the expected calibration error over ten equally large bins (Naeini et al. 2015); NaN without words."""
    if words.empty:
        return float("nan")
    order = np.argsort(words["confidence"].to_numpy(), kind="stable")
    confidence, right = words["confidence"].to_numpy(dtype=np.float64), words["right"].to_numpy(dtype=np.float64)
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    return float(sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in bins) / len(order))


def ranking(words: pd.DataFrame) -> float:
    """Return the area under the ROC curve of right against wrong words; NaN if all are right, or all wrong."""
    if words["right"].nunique() < 2:
        return float("nan")
    return float(roc_auc_score(words["right"], words["confidence"]))
