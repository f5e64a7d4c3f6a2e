"""Catalog of metrics: direction, unit and format of each."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeVar

Format = Literal["number", "percent", "change", "p", "bytes", "duration"]
"""How a value is formatted: four significant digits, percent with one decimal, percent with its sign, a p-value with
three decimals; a size from bytes (`3.4 MB`) and a duration from seconds (`2 min 5 s`)."""


Direction = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class Metric:
    """A metric that runs log; `better` is its direction, "neither" for a descriptive one."""

    better: Direction
    unit: str = ""
    format: Format = "number"


def _described(metric: Metric) -> Metric:
    """Return the same metric without a direction."""
    return replace(metric, better="neither")


_RATE = Metric("lower", format="percent")
_SHARE = Metric("higher", format="percent")
_COUNT = Metric("neither")

_PRONUNCIATION: dict[str, Metric] = {
    "error_f1": _SHARE,
    "error_precision": _SHARE,
    "error_recall": _SHARE,
    "far": _RATE,
    "frr": _RATE,
    "der": _RATE,
    "correct_diagnosis": _SHARE,
    "accuracy": _SHARE,
    "roc_auc": Metric("higher"),
    "pr_auc": Metric("higher"),
    "score_pcc": Metric("higher"),
    "score_mse": Metric("lower"),
}
"""Metrics of pronunciation assessment on `val` and `test`, and of a model's variants (fused with GOP, from its free
recognition, counted as in published results). Those of baselines (`test/gop/...`, `test/trivial/...`,
`test/flag_all/...`) and of the older system (`legacy/...`) have no direction."""
_TESTS = ("test", "test_hard")
_VARIANTS = ("fused", "decoded", "hierarchy")
_BASELINES = ("gop", "trivial", "flag_all")
_LEGACY = (
    "token_accuracy",
    "sequence_accuracy",
    "phoneme_accuracy",
    "weighted_f1",
    "macro_f1",
    *(f"{label}_{figure}" for label in ("correct", "incorrect") for figure in ("precision", "recall", "f1")),
)

_ERROR_RATES = ("wer", "cer", "wer_no_space", "cer_no_space", "per")
_OF_DECODING = ("perplexity", "sentences_in_lm", "confidence_ece", "confidence_auc")

FIGURES: dict[str, Metric] = {
    "loss": Metric("lower"),
    "wer": _RATE,
    "cer": _RATE,
    "wer_no_space": _RATE,
    "cer_no_space": _RATE,
    "per": _RATE,
    "perplexity": Metric("lower"),
    "sentences_in_lm": _COUNT,
    "confidence_ece": _RATE,
    "confidence_auc": Metric("higher"),
    "utterances": _COUNT,
    "trained_utterances": _COUNT,
    "training_speakers": _COUNT,
    **_PRONUNCIATION,
}
"""Metrics of a scored split by the last part of their name (`SPLIT/wer`), for any name of a split."""

METRICS: dict[str, Metric] = {
    "train/loss": Metric("lower"),
    "train/lr": Metric("neither"),
    "train/imitation_loss": Metric("neither"),
    "grad_norm": Metric("neither"),
    "epoch_time": Metric("neither", "s"),
    "val/loss": FIGURES["loss"],
    **{f"{split}/{name}": FIGURES[name] for split in ("val", "test") for name in _ERROR_RATES},
    **{f"{split}/wer_{bound}": _described(_RATE) for split in ("val", "test") for bound in ("low", "high")},
    **{
        f"{split}/{name}": FIGURES[name]
        for split in ("val", *_TESTS)
        for name in ("utterances", "trained_utterances", "training_speakers")
    },
    **{f"{split}/{name}": FIGURES[name] for split in ("val", "test") for name in _OF_DECODING},
    "best/val_wer": _RATE,
    "best/val_cer": _described(_RATE),
    "best/val_per": _described(_RATE),
    "best/val_error_f1": _described(_SHARE),
    "best/epoch": _COUNT,
    "best/step": _COUNT,
    "fold/wer": _RATE,
    "test/wer_base": _described(_RATE),
    "test/cer_base": _described(_RATE),
    "test/wer_delta": Metric("lower", format="change"),
    "test/wer_delta_low": Metric("neither", format="change"),
    "test/wer_delta_high": Metric("neither", format="change"),
    "test/wer_delta_p": Metric("neither", format="p"),
    "adapter/strength": Metric("neither"),
    "gate/target": _described(_RATE),
    "gate/accept": _described(_RATE),
    "phase/val_wer": _described(_RATE),
    "phase/target": _described(_RATE),
    "phase/accept": _described(_RATE),
    "model/params": _COUNT,
    "model/trainable_params": _COUNT,
    "model/added_params": _COUNT,
    "model/trainable_share": Metric("neither", format="percent"),
    "model/size_mb": Metric("neither", "MB"),
    "perf/seconds": Metric("neither", "s"),
    "perf/training_seconds": Metric("neither", "s"),
    "perf/base_pass_seconds": Metric("neither", "s"),
    "perf/real_time_factor": Metric("neither"),
    "perf/memory_mb": Metric("neither", "MB"),
    "perf/peak_memory_mb": Metric("neither", "MB"),
    "perf/peak_gpu_memory_mb": Metric("neither", "MB"),
    "perf/utterances_per_second": Metric("neither", "1/s"),
    "perf/speed_share": Metric("neither", format="percent"),
    "perf/merged_speed_share": Metric("neither", format="percent"),
    **{f"sweep/{name}": _COUNT for name in ("trials", "finished", "pruned", "failed", "running", "best_trial")},
    "test_hard/per": _RATE,
    **{f"{split}/{name}": metric for split in ("val", *_TESTS) for name, metric in _PRONUNCIATION.items()},
    **{
        f"{test}/{variant}/{name}": metric
        for test in _TESTS
        for variant in _VARIANTS
        for name, metric in _PRONUNCIATION.items()
    },
    **{
        f"{test}/{baseline}/{name}": _described(FIGURES[name])
        for test in _TESTS
        for baseline in _BASELINES
        for name in ("per", *_PRONUNCIATION)
    },
    **{
        f"{test}/{name}_{bound}": _described(_PRONUNCIATION[name])
        for test in _TESTS
        for name in ("error_f1", "pr_auc")
        for bound in ("low", "high")
    },
    **{
        f"{test}/wrong_text/{name}": Metric("neither") for test in _TESTS for name in ("flagged", "flagged_of_own_text")
    },
    **{f"legacy/{name}": Metric("neither", format="percent") for name in _LEGACY},
}

SYSTEM = "system/"
"""Prefix of the metrics of the machine during a run, which MLflow names."""
CURVES = ("train/loss", "val/loss", "val/wer", "val/error_f1", "val/per")
"""Metrics plotted over training time."""
VALIDATED = ("val/loss", "val/wer", "val/cer", "val/per", "val/error_f1")
"""Metrics that have a point for each epoch; that of the best epoch has another name (`of_best_epoch`)."""
BEST_STEP = "best/step"
"""The step of the best epoch, of runs whose `VALIDATED` metrics end with the last epoch."""

T = TypeVar("T")


def of_best_epoch(name: str) -> str:
    """Return the name of a validated metric's value in the best epoch: `best/val_wer` for `val/wer`; else the name."""
    return f"best/{name.replace('/', '_')}" if name in VALIDATED else name


def figures(metrics: Mapping[str, T]) -> dict[str, T]:
    """Return the last values of a run's metrics, but on validation those of the best epoch, whose model is the run's.

    Older runs, without `best/step`, logged that value as the last point of the curve: they stay as they are.
    """
    if BEST_STEP not in metrics:
        return dict(metrics)
    return {**metrics, **{name: metrics[best] for name in VALIDATED if (best := of_best_epoch(name)) in metrics}}


def of_the_model(metrics: Mapping[str, T]) -> dict[str, T]:
    """Return the last values of a run's metrics without those of the last epoch that the best epoch has too."""
    if BEST_STEP not in metrics:
        return dict(metrics)
    doubles = [name for name in VALIDATED if of_best_epoch(name) in metrics]
    return {name: value for name, value in metrics.items() if name not in doubles}


def direction(name: str) -> Direction:
    """Return the direction of a metric; a slice (`val/wer_by_age/5`) has that of its metric."""
    metric = METRICS.get(name) or METRICS.get(name.split("_by_")[0])
    return metric.better if metric else "neither"


def format_of(name: str) -> Format:
    """Return the format of a metric, or of one derived from it by its name; "number" if it is unknown.

    Slices (`val/wer_by_age/5`), bounds and deviations (`_low`, `_high`, `_std`, `_base`) have the format of their
    metric, a `_delta` of rates has a sign, a `_p` is a p-value; `best/val_wer` has the format of `val/wer`;
    `SPLIT/wer`, `SPLIT/VARIANT/wer` and `wer` have the same (`FIGURES`).
    """
    return _format(name) or "number"


@cache
def _format(name: str) -> Format | None:
    metric_name = name.split("_by_")[0]
    if metric := METRICS.get(metric_name) or FIGURES.get(metric_name.rpartition("/")[2]):
        return metric.format
    if metric_name.startswith("best/"):
        return _format(metric_name.removeprefix("best/").replace("_", "/", 1))
    base, underscore, part = metric_name.rpartition("_")
    of_base = _format(base) if underscore else None
    if of_base == "percent" and part == "delta":
        return "change"
    if of_base == "change" and part == "std":
        return "percent"
    if of_base and part == "p":
        return "p"
    return of_base if part in ("low", "high", "std", "base", "delta") else None


_MOST_OF_A_NAME = 100  # characters; MLflow allows 250 for a metric


def in_a_name(value: str) -> str:
    """Escape a slice's value for a metric name (MLflow: letters of any script, digits, `_ - .` and spaces)."""
    plain = value.replace("+", "_up")
    name = re.sub(r"[^\w. -]", "_", plain).strip(".")[:_MOST_OF_A_NAME] or "_"
    return name if name == plain else f"{name}-{zlib.crc32(value.encode()) & 0xFFFF:04x}"  # keeps two values distinct
