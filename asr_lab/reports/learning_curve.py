"""Learning curve of an adapter: WER against the number of training utterances."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure


def growth_figure(growth: pd.DataFrame) -> Figure:
    """Plot WER against training utterances (columns `learned_from`, `wer`, `wer_base`, `wer_delta_low`, `_high`).

    The bars are the 95 % interval of the difference to the base, drawn from the base's WER.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    base, wer = growth["wer_base"] * 100, growth["wer"] * 100
    bars = [wer - (base + growth["wer_delta_low"] * 100), base + growth["wer_delta_high"] * 100 - wer]
    axes.errorbar(growth["learned_from"], wer, yerr=[bar.clip(lower=0) for bar in bars], marker="o", capsize=4)
    axes.axhline(float(base.iloc[-1]), color="0.45", linestyle="--")
    axes.annotate("base", (float(growth["learned_from"].max()), float(base.iloc[-1])), (0, 4), ha="right",
                  textcoords="offset points", color="0.35")  # fmt: skip
    for size, value in zip(growth["learned_from"], wer, strict=True):
        axes.annotate(f"{value:.1f}", (size, value), (6, 6), textcoords="offset points")
    axes.set_xlabel("training utterances")
    axes.set_ylabel("WER, % (bars: 95 % interval of the difference to the base)")
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
