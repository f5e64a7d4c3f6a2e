"""Error rates of slices as a figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from asr_lab.reports.fonts import figure_text

_MOST_VALUES = 20


def slices_figure(slices: pd.DataFrame) -> Figure:
    """Plot the WER of each slice (`metrics.slices.slices`) with its 95 % interval, one panel per kind of slice."""
    counts = slices["slice"].value_counts()
    names = [name for name in slices["slice"].unique() if counts[name] <= _MOST_VALUES]
    shown = [slices[slices["slice"] == name] for name in names]
    height = 0.6 + sum(0.5 + 0.28 * len(part) for part in shown)
    figure = Figure(figsize=(7, height), layout="constrained")
    heights = [len(part) for part in shown] or [1]
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, name, part in zip(panels[:, 0], names, shown, strict=False):
        for place, row in enumerate(part.itertuples()):
            bar = [[max(row.wer - row.low, 0) * 100], [max(row.high - row.wer, 0) * 100]]
            axes.errorbar(row.wer * 100, place, xerr=bar, fmt="o", color="0.6" if row.few else "C0", capsize=3)
        labels = [f"{figure_text(row.value)}  (n={row.utterances})" for row in part.itertuples()]
        axes.set_yticks(range(len(part)), labels)
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.set_title(name, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    panels[-1, 0].set_xlim(left=0)
    panels[-1, 0].set_xlabel("WER, % with 95 % interval (grey: fewer than 50 words)")
    return figure
