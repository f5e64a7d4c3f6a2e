"""Putting evaluations together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asr_lab.config.schema.base import Experiment, Section


class Pool(Section):
    """Evaluations of parts, and what they are parts of."""

    runs: tuple[str, ...] = Field(min_length=1)
    """Ids of the runs whose score tables are put together."""
    data: str
    """Manifest of all their utterances, of which each was scored by exactly one of the runs."""
    split: str = "test"
    """Which of their splits is meant, and what it is called here."""


class PoolExperiment(Experiment):
    """One evaluation of those of several parts, such as the folds of a cross-fit."""

    recipe: Literal["pool"] = "pool"
    pool: Pool
