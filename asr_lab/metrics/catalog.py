"""Every metric by name: its direction, its unit and how its figure is written."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

Format = Literal["number", "percent", "change", "p", "bytes", "duration"]
"""How a figure is written: four significant digits, percent with one decimal, percent with its sign, a p-value of three
decimals; a size from bytes (`3.4 MB`) and a duration from seconds (`2 min 5 s`)."""


@dataclass(frozen=True)
class Metric:
    """A figure that runs log; `better` says which way is up, "neither" for what only describes."""

    better: Literal["lower", "higher", "neither"]
    unit: str = ""
    format: Format = "number"


def _described(metric: Metric) -> Metric:
    """The same figure where it only describes."""
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
"""Figures of pronunciation assessment, of `val` and `test`; of a model's other ways (fused with GOP, of what it freely
recognises, by the counting of published results) too. The same of what stands beside it only describe (`test/gop/...`,
`test/trivial/...`, `test/flag_all/...`), as do the older system's (`legacy/...`)."""
_TESTS = ("test", "test_hard")
_WAYS = ("fused", "decoded", "hierarchy")
_BESIDE = ("gop", "trivial", "flag_all")
_LEGACY = (
    "token_accuracy",
    "sequence_accuracy",
    "phoneme_accuracy",
    "weighted_f1",
    "macro_f1",
    *(f"{label}_{figure}" for label in ("correct", "incorrect") for figure in ("precision", "recall", "f1")),
)

FIGURES: dict[str, Metric] = {
    "loss": Metric("lower"),
    "wer": _RATE,
    "cer": _RATE,
    "per": _RATE,
    "utterances": _COUNT,
    **_PRONUNCIATION,
}
"""The figures of a scored split by the last part of their name (`SPLIT/wer`), whatever the split is called."""

METRICS: dict[str, Metric] = {
    "train/loss": Metric("lower"),
    "train/lr": Metric("neither"),
    "train/imitation_loss": Metric("neither"),
    "grad_norm": Metric("neither"),
    "epoch_time": Metric("neither", "s"),
    "val/loss": FIGURES["loss"],
    **{f"{split}/{name}": FIGURES[name] for split in ("val", "test") for name in ("wer", "cer", "per")},
    **{f"{split}/wer_{bound}": _described(_RATE) for split in ("val", "test") for bound in ("low", "high")},
    **{f"{split}/utterances": _COUNT for split in ("val", *_TESTS)},
    "best/val_wer": _RATE,
    "best/val_cer": _described(_RATE),
    "best/val_error_f1": _described(_SHARE),
    "best/epoch": _COUNT,
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
    **{f"{test}/{way}/{name}": metric for test in _TESTS for way in _WAYS for name, metric in _PRONUNCIATION.items()},
    **{
        f"{test}/{way}/{name}": _described(FIGURES[name])
        for test in _TESTS
        for way in _BESIDE
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
"""The metrics that are drawn over a run's time."""


def direction(name: str) -> Literal["lower", "higher", "neither"]:
    """Which way a metric is better; sliced ones (`val/wer_by_age/5`) go as the whole."""
    metric = METRICS.get(name) or METRICS.get(name.split("_by_")[0])
    return metric.better if metric else "neither"


def format_of(name: str) -> Format:
    """How a metric's figure is written, also one derived from a metric by its name; "number" where it is not known.

    Slices (`val/wer_by_age/5`), bounds and deviations (`_low`, `_high`, `_std`, `_base`) are written as the whole, a
    `_delta` of rates with its sign, a `_p` as a p-value; `best/val_wer` is a `val/wer`, and `SPLIT/wer`,
    `SPLIT/WAY/wer` and `wer` alone are written alike (`FIGURES`).
    """
    return _format(name) or "number"


@cache
def _format(name: str) -> Format | None:
    whole = name.split("_by_")[0]
    if metric := METRICS.get(whole) or FIGURES.get(whole.rpartition("/")[2]):
        return metric.format
    if whole.startswith("best/"):
        return _format(whole.removeprefix("best/").replace("_", "/", 1))
    base, underscore, part = whole.rpartition("_")
    of_base = _format(base) if underscore else None
    if of_base == "percent" and part == "delta":
        return "change"
    if of_base == "change" and part == "std":
        return "percent"
    if of_base and part == "p":
        return "p"
    return of_base if part in ("low", "high", "std", "base", "delta") else None


def in_a_name(value: str) -> str:
    """A slice's value as part of a metric's name (MLflow: letters of any script, digits, `_ - .` and spaces)."""
    plain = value.replace("+", "_up")
    name = re.sub(r"[^\w. -]", "_", plain).strip(".") or "_"
    return name if name == plain else f"{name}-{zlib.crc32(value.encode()) & 0xFFFF:04x}"  # or two might become one
