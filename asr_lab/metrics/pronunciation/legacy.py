"""Metrics of YounghwanShin/L2_ASR (its `evaluate.py`, commit b227838), as defined there.

They are logged under `legacy/` for comparison with its results. None of them measures detection: on L2-ARCTIC a
predictor that flags nothing has a weighted F1 of 0.80 and a token accuracy of 0.86.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from sklearn.metrics import f1_score, precision_recall_fscore_support

from asr_lab.metrics.pronunciation.detection import Figures, ratio
from asr_lab.metrics.pronunciation.sequences import per, phone_errors

_CLASSES = {"I": "incorrect", "C": "correct"}


def legacy(table: pd.DataFrame) -> Figures:
    """Return `legacy_figures` of a `flagged` table, and `phoneme_accuracy` = 1 - PER."""
    truth, predicted = ([["I" if one else "C" for one in row] for row in table[name]] for name in ("errors", "flags"))
    rate = per(table).value
    return {**legacy_figures(truth, predicted), "phoneme_accuracy": None if rate != rate else 1 - rate}


def legacy_figures(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Figures:
    """Return metrics of label sequences (`C` correct, `I` incorrect), which need not be of the same length.

    `token_accuracy` is 1 - edits / labels; `sequence_accuracy` the share of utterances without an edit. F1 (weighted,
    macro, by class) is computed from all sequences joined, cut to the length of the shorter side and compared by
    position: one extra label shifts all that follow.
    """
    edits = [phone_errors(*row) for row in zip(truth, predicted, strict=True)]
    error_rate = ratio(sum(errors for errors, _ in edits), sum(length for _, length in edits))
    metrics: Figures = {
        "token_accuracy": None if error_rate is None else 1 - error_rate,
        "sequence_accuracy": ratio(sum(errors == 0 for errors, _ in edits), len(edits)),
    }
    joined = [[label for row in rows for label in row] for rows in (truth, predicted)]
    wanted, given = (side[: min(map(len, joined))] for side in joined)
    if not wanted:
        return metrics
    for average in ("weighted", "macro"):
        metrics[f"{average}_f1"] = float(f1_score(wanted, given, average=average, zero_division=0))
    for label, name in _CLASSES.items():
        by_class = precision_recall_fscore_support(wanted, given, labels=[label], zero_division=0)
        for figure, values in zip(("precision", "recall", "f1"), by_class, strict=False):
            metrics[f"{name}_{figure}"] = float(values[0])
    return metrics
