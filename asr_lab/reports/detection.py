"""Precision-recall figure of mispronunciation detection."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from asr_lab.metrics.pronunciation.phonemes import by_phoneme
from asr_lab.reports.fonts import figure_text

_NAMES = {"error_score": "model", "gop": "GOP", "fused": "model and GOP"}


def detection_figure(table: pd.DataFrame, title: str) -> Figure:
    """Plot precision against recall of the error class of a `flagged` table, for each of its columns of error scores.

    The dot is the model's own threshold, the dotted line the precision of flagging at random.
    """
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    columns = [name for name in _NAMES if name in table]
    phonemes = by_phoneme(table, "errors", "flags", *columns)
    wrong, flagged = phonemes["errors"] == 1, phonemes["flags"] == 1
    for column in columns:
        precision, recall, _ = precision_recall_curve(wrong, phonemes[column])
        axes.plot(recall[:-1], precision[:-1], label=_NAMES[column])
    if flagged.any():
        axes.plot((wrong & flagged).sum() / wrong.sum(), (wrong & flagged).sum() / flagged.sum(), "ko", markersize=5)
    axes.axhline(wrong.mean(), color="0.5", linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall of errors", ylabel="precision", title=figure_text(title))
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
