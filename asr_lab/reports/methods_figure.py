"""Figure of a comparison of methods: accuracy and cost of each."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def methods_figure(rows: pd.DataFrame) -> Figure:
    """Plot one line per method of the table (`recipes.comparison.measure.table`), with panels for WER, speed, trained
    parameters, inference memory and training memory."""
    figure = Figure(figsize=(15, 1.5 + 0.5 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 5, sharey=True)
    places = list(range(len(rows)))
    wer, speed, trained, memory, training = panels
    _wer(wer, rows, places)
    _speed(speed, rows, places)
    _bars(trained, places, rows["trainable_params"].where(rows["trainable_params"] > 0))
    trained.set(xscale="log", xlabel="trained parameters")
    _bars(memory, places, rows["memory_mb"])
    memory.set_xlabel("inference memory, MB")
    _bars(training, places, rows["training_memory_mb"].astype(float))
    training.set_xlabel("training memory, MB")
    for axes in panels:
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _speed(axes: Axes, rows: pd.DataFrame, places: list[int]) -> None:
    axes.set_xlabel(f"speed, % of {rows['arm'].iloc[0]}")
    merges = rows["merged_speed_share"].notna().any()
    _bars(axes, places, rows["speed_share"] * 100, "as saved", offset=-0.18 if merges else 0.0)
    if merges:
        _bars(axes, places, rows["merged_speed_share"] * 100, "adapters merged", offset=0.18)
        axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _wer(axes: Axes, rows: pd.DataFrame, places: list[int]) -> None:
    bars = [(rows["wer"] - rows["wer_low"]).clip(lower=0) * 100, (rows["wer_high"] - rows["wer"]).clip(lower=0) * 100]
    axes.errorbar(rows["wer"] * 100, places, xerr=bars, fmt="o", capsize=3)
    axes.axvline(float(rows["wer"].iloc[0]) * 100, color="0.45", linestyle="--", linewidth=1)
    axes.set_yticks(places, rows["arm"].tolist())
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("test WER, % with 95 % interval")


def _bars(axes: Axes, places: list[int], values: Any, label: str = "", *, offset: float = 0.0) -> None:
    height = 0.34 if offset else 0.6
    drawn = axes.barh([place + offset for place in places], values, height=height, label=label)
    axes.bar_label(drawn, [_short(value) for value in values], padding=2, fontsize=8)
    axes.margins(x=0.2)


def _short(value: float | None) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value:,.0f}"
