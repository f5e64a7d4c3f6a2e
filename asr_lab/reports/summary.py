"""Summary of a plan or a finished run: a title, then tables and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from asr_lab.reports.table import Table

Content: TypeAlias = Table | Mapping[str, str] | Sequence[str]
"""A table, labelled lines, or plain lines."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Parts are shown in order, each under its heading ("" for none)."""

    title: str = ""
    parts: Sequence[tuple[str, Content]] = ()
    notes: Sequence[str] = ()
    """Warnings and remarks."""
    model: str = ""
    """URI of the model that was made; "" if none was."""
    next_commands: Sequence[str] = ()


def interval_text(low: float, high: float, style: str = ".1%") -> str:
    """Return a 95 % interval as text: `95 % interval 20.1% to 24.5%`."""
    return f"95 % interval {low:{style}} to {high:{style}}"
