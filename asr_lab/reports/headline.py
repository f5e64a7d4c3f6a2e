"""The result of a run in one line, as its description begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from asr_lab.families import deciding
from asr_lab.metrics.catalog import format_of

_NAMES = {"wer": "WER", "cer": "CER", "per": "PER", "error_f1": "error F1", "pr_auc": "PR AUC"}
_SPLITS = {"test": "utterances", "val": "validation utterances"}
_RANKED = ("test/wer", "val/wer", "test/error_f1", "val/error_f1")


def headline(family: str, metrics: Mapping[str, float]) -> str:
    """Return `WER 10.9 % (8.3 to 13.6) on 100 utterances, base 23.8 %`; "" if no deciding metric is known.

    The test split comes before others. The interval, the number of utterances and the base are named where they are
    known.
    """
    metric = next((name for name in _candidates(family, metrics) if math.isfinite(metrics.get(name, math.nan))), "")
    if not metric:
        return ""
    split, _, rate = metric.rpartition("/")
    text = f"{_NAMES.get(rate, rate)} {_figure(metric, metrics[metric])}"
    bounds = [metrics.get(f"{metric}_{bound}", math.nan) for bound in ("low", "high")]
    if all(map(math.isfinite, bounds)):
        low, high = (_figure(metric, bound).removesuffix(" %") for bound in bounds)
        text += f" ({low} to {high})"
    count = metrics.get(f"{split}/utterances")
    if count is not None:
        text += f" on {count:,.0f} {_SPLITS.get(split, f'utterances of {split}')}"
    base = metrics.get(f"{metric}_base", math.nan)
    best = metrics.get("sweep/best_trial")
    text += f", base {_figure(metric, base)}" if math.isfinite(base) else ""
    return f"Best trial {best:.0f}: {text}" if best is not None else text


def _candidates(family: str, metrics: Mapping[str, float]) -> Iterator[str]:
    decides = deciding(family, metrics) or deciding(family)
    yield from (decides.replace("val/", "test/", 1), decides, *_RANKED)
    yield from (name for name in metrics if name.count("/") == 1 and name.endswith(("/wer", "/error_f1")))


def _figure(metric: str, value: float) -> str:
    return f"{value:.1%}".replace("%", " %") if format_of(metric) == "percent" else f"{value:.3f}"
