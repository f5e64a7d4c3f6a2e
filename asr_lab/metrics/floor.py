"""The least a model must be shown to do before it becomes champion by itself: better than no output."""

from __future__ import annotations

import math
from collections.abc import Mapping

_SPLITS = ("test", "val")


def why_below(metrics: Mapping[str, float]) -> str:
    """Return why a model with these metrics is not shown to beat one that outputs nothing; "" if it does.

    A model that outputs nothing has a WER or PER of 100 %; one that reports no error, or every phoneme as an error, has
    the F1 logged as a baseline. The bound of the metric's 95 % interval counts where it was logged. Metrics without any
    of these say nothing about the model: "".
    """
    for split in _SPLITS:
        for name, why in ((f"{split}/error_f1", _below_f1), (f"{split}/wer", _above_1), (f"{split}/per", _above_1)):
            if name in metrics:
                return why(metrics, name)
    return ""


def _above_1(metrics: Mapping[str, float], name: str) -> str:
    bound = metrics.get(f"{name}_high", metrics[name])
    return "" if bound < 1 else f"{_shown(metrics, name)} is not better than the 100.0% of a model that outputs nothing"


def _below_f1(metrics: Mapping[str, float], name: str) -> str:
    bound, split = metrics.get(f"{name}_low", metrics[name]), name.partition("/")[0]
    baselines = {side: metrics.get(f"{split}/{side}/error_f1", 0.0) for side in ("trivial", "flag_all")}
    side = max(baselines, key=lambda side: baselines[side])
    if bound > baselines[side]:
        return ""
    predictor = "no phoneme" if side == "trivial" else "every phoneme"
    return f"{_shown(metrics, name)} is not better than the {baselines[side]:.1%} of reporting {predictor} as an error"


def _shown(metrics: Mapping[str, float], name: str) -> str:
    bounds = [metrics.get(f"{name}_{bound}", math.nan) for bound in ("low", "high")]
    interval = "" if any(map(math.isnan, bounds)) else " ({:.1%} to {:.1%})".format(*bounds)
    return f"{name} {metrics[name]:.1%}{interval}"
