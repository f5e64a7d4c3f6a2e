"""Learning curves of several runs side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from asr_lab.metrics.catalog import CURVES
from asr_lab.reports.fonts import figure_text, fitted


def curves_figure(curves: pd.DataFrame) -> Figure:
    """Plot one panel per metric and one line per run, against seconds since the start of the run.

    Columns of `curves`: `run, metric, step, seconds, value`. Error rates are in percent.
    """
    metrics = [name for name in CURVES if (curves["metric"] == name).any()]
    figure = Figure(figsize=(4.2 * max(len(metrics), 1), 3.8), layout="constrained")
    panels = figure.subplots(1, max(len(metrics), 1), squeeze=False)[0]
    runs = list(dict.fromkeys(curves["run"]))
    for axes, metric in zip(panels, metrics, strict=False):
        rate = metric.endswith(("wer", "cer", "per", "f1"))
        for number, run in enumerate(runs):
            own = curves[(curves["run"] == run) & (curves["metric"] == metric)].sort_values(["seconds", "step"])
            if len(own):
                values = own["value"] * (100 if rate else 1)
                axes.plot(own["seconds"] / 60, values, color=f"C{number}", marker=".", label=figure_text(run))
        axes.set_title(metric + (", %" if rate else ""), loc="left", fontsize=10)
        axes.set_xlabel("minutes since the run began")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    lines: dict[str, Any] = {}
    for axes in panels:
        lines |= {label: line for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", fontsize=8, frameon=False)
    return fitted(figure)
