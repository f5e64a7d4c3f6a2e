"""Figures as people read them."""

from __future__ import annotations

import math

_RATES = ("wer", "cer", "per", "share", "delta", "low", "high", "difference",
          "f1", "precision", "recall", "accuracy", "far", "frr", "der", "diagnosis")  # fmt: skip
_SIGNED = ("delta", "difference")


def number(column: str, value: object) -> str:
    """The text of a cell: rates in percent, p with three digits, gaps as a dash, nothing that a terminal acts on."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if not isinstance(value, float):
        text = str(value)
        return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)
    words = column.split("_by_")[0].split("/")[-1].split("_")
    if words[-1] == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if any(word in _RATES for word in words):
        return f"{value:+.1%}" if any(word in _SIGNED for word in words) else f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
