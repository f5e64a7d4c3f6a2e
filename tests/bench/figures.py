"""Figures of a benchmark as a file, which `asr-lab results record --values FILE` and `results remake` read."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = float | dict[str, float]
"""A number, or its `value`, `low` and `high`."""


def add_values_option(parser: argparse.ArgumentParser) -> None:
    """Add `--values FILE` to a benchmark."""
    parser.add_argument("--values", type=Path, metavar="FILE", help="write the figures here too, as JSON")


def add_clock_option(parser: argparse.ArgumentParser) -> None:
    """Add `--processor-time` to a benchmark whose clock is `now`."""
    parser.add_argument(
        "--processor-time", action="store_true", help="count it instead of time on the clock: where others work beside"
    )


def choose_clock(*, processor_time: bool) -> None:
    """Choose what `now` counts."""
    global now
    now = time.process_time if processor_time else time.perf_counter


now = time.perf_counter
"""Seconds; differences of it are durations."""


def of_rounds(values: Sequence[float]) -> Value:
    """Return the median of rounds, and the lowest and highest of them."""
    return {"value": statistics.median(values), "low": min(values), "high": max(values)}


def write(values: Mapping[str, Value], file: Path | None, label: str = "") -> None:
    """Write figures by name, after `label/` if there is one, where a file was named."""
    if file:
        values = {f"{label}/{name}" if label else name: value for name, value in values.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values, indent=1) + "\n")
