"""Every metric by name: its direction and unit, and which one decides for a family of runs."""

from __future__ import annotations

import re
import zlib
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A figure that runs log; `better` says which way is up, "neither" for what only describes."""

    better: Literal["lower", "higher", "neither"]
    unit: str = ""


_PRONUNCIATION: dict[str, Metric] = {
    "error_f1": Metric("higher"),
    "error_precision": Metric("higher"),
    "error_recall": Metric("higher"),
    "far": Metric("lower"),
    "frr": Metric("lower"),
    "der": Metric("lower"),
    "correct_diagnosis": Metric("higher"),
    "accuracy": Metric("higher"),
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

METRICS: dict[str, Metric] = {
    "train/loss": Metric("lower"),
    "train/lr": Metric("neither"),
    "grad_norm": Metric("neither"),
    "epoch_time": Metric("neither", "s"),
    "val/loss": Metric("lower"),
    "val/wer": Metric("lower"),
    "val/cer": Metric("lower"),
    "val/per": Metric("lower"),
    "test/wer": Metric("lower"),
    "test/wer_low": Metric("neither"),
    "test/wer_high": Metric("neither"),
    "test/cer": Metric("lower"),
    "test/per": Metric("lower"),
    "best/val_wer": Metric("lower"),
    "fold/wer": Metric("lower"),
    "test/wer_base": Metric("neither"),
    "test/cer_base": Metric("neither"),
    "test/wer_delta": Metric("lower"),
    "test/wer_delta_low": Metric("neither"),
    "test/wer_delta_high": Metric("neither"),
    "model/params": Metric("neither"),
    "model/trainable_params": Metric("neither"),
    "model/trainable_share": Metric("neither"),
    "model/size_mb": Metric("neither", "MB"),
    "perf/seconds": Metric("neither", "s"),
    "perf/peak_memory_mb": Metric("neither", "MB"),
    "perf/peak_gpu_memory_mb": Metric("neither", "MB"),
    "perf/utterances_per_second": Metric("neither", "1/s"),
    "test_hard/per": Metric("lower"),
    **{f"{split}/{name}": metric for split in ("val", *_TESTS) for name, metric in _PRONUNCIATION.items()},
    **{f"{test}/{way}/{name}": metric for test in _TESTS for way in _WAYS for name, metric in _PRONUNCIATION.items()},
    **{
        f"{test}/{way}/{name}": Metric("neither")
        for test in _TESTS
        for way in _BESIDE
        for name in ("per", *_PRONUNCIATION)
    },
    **{
        f"{test}/{name}_{bound}": Metric("neither")
        for test in _TESTS
        for name in ("error_f1", "pr_auc")
        for bound in ("low", "high")
    },
}

DECIDES: dict[str, str] = {
    "deepspeech2": "val/wer",
    "wav2vec2": "val/wer",
    "curriculum": "val/wer",
    "adapter": "test/wer",
    "pronunciation": "val/error_f1",
    "evaluate": "test/wer",
}
"""Family -> the metric by which its runs are ranked."""
_OF_PRONUNCIATION = {"evaluate": "test/error_f1"}


def deciding(family: str, known: Container[str]) -> str:
    """The metric by which runs of a family are ranked, of those that are known of them; "" where none is.

    An evaluation is of a recogniser of text or of a model of pronunciation.
    """
    names = (DECIDES.get(family, ""), _OF_PRONUNCIATION.get(family, ""))
    return next((name for name in names if name and name in known), "")


SHOWN: dict[str, tuple[str, ...]] = {
    "deepspeech2": ("val/wer", "val/cer", "test/wer", "test/cer"),
    "wav2vec2": ("val/wer", "val/cer", "test/wer", "test/cer", "model/trainable_params", "model/size_mb"),
    "curriculum": ("val/wer", "val/cer", "val/per", "test/wer", "test/cer", "model/trainable_params"),
    "adapter": ("test/wer_base", "test/wer", "test/wer_delta", "test/cer", "model/size_mb"),
    "pronunciation": (
        "val/error_f1",
        "test/error_f1",
        "test/gop/error_f1",
        "test/pr_auc",
        "test/gop/pr_auc",
        "test/fused/pr_auc",
        "test/per",
        "test/trivial/per",
        "test/accuracy",
        "test/trivial/accuracy",
        "test_hard/error_f1",
        "test_hard/gop/error_f1",
        "test_hard/pr_auc",
        "test_hard/gop/pr_auc",
        "test_hard/fused/pr_auc",
        "test_hard/per",
        "model/trainable_params",
    ),
    "evaluate": ("test/wer", "test/cer", "test/error_f1", "test/pr_auc", "test/per", "test/trivial/per"),
}
"""Family -> the metrics of its row in a table of runs."""


_LOOP = ("train/loss", "train/lr", "grad_norm", "epoch_time")
_SIZES = ("model/params", "model/trainable_params", "model/trainable_share", "model/size_mb")
_COSTS = ("perf/seconds", "perf/peak_memory_mb")
_SCORES = ("wer", "wer_low", "wer_high", "cer", "utterances")
_TRAINED = (
    *_LOOP,
    *_SIZES,
    *_COSTS,
    *(f"{split}/{score}" for split in ("val", "test") for score in (*_SCORES, "per")),
    "val/loss",
    "best/val_wer",
    "best/epoch",
    "perf/utterances_per_second",
)
LOGGED: dict[str, tuple[str, ...]] = {
    "deepspeech2": _TRAINED,
    "wav2vec2": _TRAINED,
    "pronunciation": (
        *_LOOP,
        *_SIZES,
        *_COSTS,
        "val/loss",
        *(f"{split}/{name}" for split in ("val", *_TESTS) for name in ("per", *_PRONUNCIATION)),
        "best/epoch",
        "perf/utterances_per_second",
    ),
    "adapter": (
        *_LOOP,
        *_SIZES,
        *_COSTS,
        *(f"test/{score}" for score in (*_SCORES, "wer_base", "cer_base")),
        *(f"test/wer_delta{part}" for part in ("", "_low", "_high", "_p")),
        "adapter/strength",
        "fold/wer",
        "train/imitation_loss",
        "perf/training_seconds",
        "perf/base_pass_seconds",
    ),
}
"""Recipe -> the metrics its runs log, beside those of slices; some only with a setting (`test/...` with test data)."""


CURVES = ("train/loss", "val/loss", "val/wer", "val/error_f1", "val/per")
"""The metrics that are drawn over a run's time."""


def direction(name: str) -> Literal["lower", "higher", "neither"]:
    """Which way a metric is better; sliced ones (`val/wer_by_age/5`) go as the whole."""
    metric = METRICS.get(name) or METRICS.get(name.split("_by_")[0])
    return metric.better if metric else "neither"


def in_a_name(value: str) -> str:
    """A slice's value as part of a metric's name (MLflow: letters of any script, digits, `_ - .` and spaces)."""
    plain = value.replace("+", "_up")
    name = re.sub(r"[^\w. -]", "_", plain).strip(".") or "_"
    return name if name == plain else f"{name}-{zlib.crc32(value.encode()) & 0xFFFF:04x}"  # or two might become one
