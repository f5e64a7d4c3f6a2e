"""Configuration of pooled evaluations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asr_lab.config.schema.base import Experiment, Section


class Pool(Section):
    """The evaluations to pool, and their data."""

    runs: tuple[str, ...] = Field(min_length=1)
    """Ids of the evaluation runs to pool."""
    data: str
    """Manifest of all utterances; each has to be scored by exactly one of the runs."""
    split: str = "test"
    """Name of the split, in the runs and in the pooled evaluation."""


class PoolExperiment(Experiment):
    """Pool evaluations of several parts, such as the folds of a cross-validation."""

    recipe: Literal["pool"] = "pool"
    pool: Pool
