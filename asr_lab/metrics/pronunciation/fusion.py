"""A model's error scores and GOP made into one, by logistic regression fitted on validation."""

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

_FURTHEST = 12.0  # of log odds: 6 in a million


@dataclass(frozen=True)
class Fusion:
    """Weights of the log odds of columns of error scores; the sum, made a probability, is the fused score."""

    intercept: float
    weights: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a JSON file beside the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fusion:
        """Of what `to_json` gave."""
        return cls(float(values["intercept"]), {str(name): float(one) for name, one in values["weights"].items()})


def fit_fusion(table: pd.DataFrame, columns: Sequence[str] = ("error_score", "gop")) -> Fusion:
    """The fusion of these columns that fits a (validation) table; raises `AsrLabError` without errors in it."""
    phonemes = by_phoneme(table, *columns, "errors")
    if phonemes["errors"].nunique() < 2:
        raise AsrLabError(
            "no phoneme of the validation data is wrong, or all are: scores cannot be fused",
            allowed="validation data with right and with mispronounced phonemes",
        )
    features = np.stack([log_odds(phonemes[name], name) for name in columns], axis=1)
    fitted = LogisticRegression().fit(features, phonemes["errors"])
    return Fusion(float(fitted.intercept_[0]), dict(zip(columns, map(float, fitted.coef_[0]), strict=True)))


def fused(table: pd.DataFrame, fusion: Fusion) -> pd.DataFrame:
    """The table with the column `fused`: the probability (N an utterance) that a phoneme is wrong."""
    sums = [fusion.intercept + sum(weight * log_odds(row[name], name) for name, weight in fusion.weights.items())
            for row in table[list(fusion.weights)].to_dict("records")]  # fmt: skip
    return table.assign(fused=[(1 / (1 + np.exp(-one))).tolist() for one in sums])


def log_odds(scores: Sequence[float] | pd.Series, column: str) -> npt.NDArray[np.float64]:
    """Error scores as log odds of an error, within 12 of 0.

    `gop` is the -log of the probability that a phoneme was said as written; other columns are probabilities of an
    error.
    """
    values = np.asarray(scores, dtype=np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        odds = np.log(np.expm1(values)) if column == "gop" else np.log(values) - np.log1p(-values)
    return np.clip(odds, -_FURTHEST, _FURTHEST)
