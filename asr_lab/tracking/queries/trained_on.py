"""Runs whose figures rest on data that their model was trained on, as evaluations and trainings record it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from mlflow.entities import Run

from asr_lab.errors import listing
from asr_lab.interfaces.tags import UNCHECKED
from asr_lab.tracking.queries.runs import metrics_of

_COLUMN = "trained_on"
_MOST_NAMED = 4


def describe(run: Run, split: str) -> str:
    """Return `8 of 11 utterances were trained on, 1 is a training speaker` of a run's split; "" if it is not known."""
    metrics = metrics_of(run)
    known, total = metrics.get(f"{split}/trained_utterances"), metrics.get(f"{split}/utterances")
    speakers = metrics.get(f"{split}/training_speakers", 0)
    parts = [f"{known:.0f} of {total:.0f} utterances trained on"] if known and total else []
    parts += [f"{speakers:.0f} training speaker{'s' if speakers > 1 else ''}"] if speakers else []
    return ", ".join(parts)


def unchecked(run: Run) -> str:
    """Return what could not be checked of the data behind a run's model; "" if nothing is known to be missing."""
    return str(run.data.tags.get(UNCHECKED, ""))


def sentences(runs: Sequence[Run], metric: str) -> list[str]:
    """Return a line on runs whose figures of the metric's split are partly on training data, and one on unchecked."""
    split = metric.partition("/")[0]
    overlaps = {run.info.run_name: text for run in runs if (text := describe(run, split))}
    doubtful = [run.info.run_name for run in runs if unchecked(run)]
    lines = [f"{split} is partly training data of {listing(_each(overlaps), _MOST_NAMED)}"] if overlaps else []
    what = "training data not fully known, so overlap is not ruled out"
    return lines + ([f"{what}: {listing(doubtful, _MOST_NAMED)}"] if doubtful else [])


def _each(overlaps: dict[str, str]) -> list[str]:
    return [f"{name} ({text})" for name, text in overlaps.items()]


def trained_rows(table: pd.DataFrame) -> int:
    """Return how many utterances of a score table the model was trained on, as far as it was recorded."""
    return int((table[_COLUMN] == "yes").sum()) if _COLUMN in table else 0
