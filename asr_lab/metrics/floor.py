"""The least a model must be shown to do before it becomes champion by itself: better than no output."""

from __future__ import annotations

import math
from collections.abc import Mapping

_SPLITS = ("test", "val")


def why_below(metrics: Mapping[str, float]) -> str:
    """Return why a model with these metrics is not shown to beat one that outputs nothing; "" if it does.

    A model that outputs nothing has a WER of 100 %. One that assesses pronunciation must beat a predictor that reports
    no error, or every phoneme as one, in the F1 of errors, or the former in PER. The bound of a metric's 95 % interval
    counts where it was logged. Without any of these metrics nothing is known against the model: "".
    """
    for split in _SPLITS:
        if f"{split}/wer" in metrics:
            return _above_nothing(metrics, f"{split}/wer")
        checks = ((f"{split}/error_f1", _below_f1), (f"{split}/per", _above_nothing))
        reasons = [check(metrics, name) for name, check in checks if name in metrics]
        if reasons:
            return reasons[0] if all(reasons) else ""
    return ""


def _above_nothing(metrics: Mapping[str, float], name: str) -> str:
    split, _, rate = name.partition("/")
    bound, nothing = metrics.get(f"{name}_high", metrics[name]), metrics.get(f"{split}/trivial/{rate}", 1.0)
    if bound < nothing:
        return ""
    return f"{_shown(metrics, name)} is not better than the {nothing:.1%} of a model that outputs nothing"


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
