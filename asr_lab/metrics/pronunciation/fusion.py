"""Fusion of a model's error scores and GOP, by logistic regression fitted on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression

from asr_lab.errors import AsrLabError
from asr_lab.metrics.pronunciation.phonemes import by_phoneme

_FURTHEST = 12.0  # log odds; a probability of 6 in a million


@dataclass(frozen=True)
class Fusion:
    """Weights of the log odds of columns of error scores; the logistic function of their sum is the fused score."""

    intercept: float
    weights: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a JSON file beside the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fusion:
        """Restore from the values of `to_json`."""
        return cls(float(values["intercept"]), {str(name): float(one) for name, one in values["weights"].items()})


def fit_fusion(table: pd.DataFrame, columns: Sequence[str] = ("error_score", "gop")) -> Fusion:
    """Fit the fusion of these columns to a (validation) table; raises `AsrLabError` unless both classes occur."""
    phonemes = by_phoneme(table, *columns, "errors")
    if phonemes["errors"].nunique() < 2:
        raise AsrLabError(
            "scores cannot be fused: the validation data has only correct phonemes, or only mispronounced ones",
            allowed="validation data with correct and with mispronounced phonemes",
        )
    features = np.stack([log_odds(phonemes[name], name) for name in columns], axis=1)
    fitted = LogisticRegression().fit(features, phonemes["errors"])
    return Fusion(float(fitted.intercept_[0]), dict(zip(columns, map(float, fitted.coef_[0]), strict=True)))


def fused(table: pd.DataFrame, fusion: Fusion) -> pd.DataFrame:
    """Add the column `fused`: the probability (N per utterance) that a phoneme is wrong."""
    sums = [fusion.intercept + sum(weight * log_odds(row[name], name) for name, weight in fusion.weights.items())
            for row in table[list(fusion.weights)].to_dict("records")]  # fmt: skip
    return table.assign(fused=[(1 / (1 + np.exp(-one))).tolist() for one in sums])


def log_odds(scores: Sequence[float] | pd.Series, column: str) -> npt.NDArray[np.float64]:
    """Convert error scores to log odds of an error, clipped to 12.

    `gop` is the -log of the probability of the canonical phoneme; other columns are probabilities of an error.
    """
    values = np.asarray(scores, dtype=np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        odds = np.log(np.expm1(values)) if column == "gop" else np.log(values) - np.log1p(-values)
    return np.clip(odds, -_FURTHEST, _FURTHEST)
