"""Formatting of values for display."""

from __future__ import annotations

import math
from typing import Any

from asr_lab.metrics.catalog import Format, format_of
from asr_lab.system.visible_text import one_line
from asr_lab.units import hms, megabytes


def format_value(value: object, how: Format = "number") -> str:
    """Return the text of a cell: numbers in the format `how`, a missing value as a dash, without control characters."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float) and math.isinf(value):
        return not_finite(value)
    if how == "duration" and isinstance(value, int | float):
        return hms(value)
    if how == "bytes" and isinstance(value, int | float):
        return megabytes(value)
    if not isinstance(value, float):
        return one_line(value)
    if how == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if how == "percent":
        return f"{value:.1%}"
    if how == "change":
        return f"{value:+.1%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def not_finite(value: float) -> str:
    """`NaN`, `inf` or `-inf`."""
    return "NaN" if math.isnan(value) else str(float(value))


def format_logged(name: str, value: float) -> str:
    """The figure of a metric that was logged, so that NaN is no gap."""
    return format_metric(name, value) if math.isfinite(value) else not_finite(value)


def format_metric(name: str, value: object) -> str:
    """Format the value of a metric as the catalog specifies."""
    return format_value(value, format_of(name))


def json_value(value: Any) -> Any:
    """Return a value of a page's data; NaN and infinity become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
