"""Experiment tracking on MLflow: record, find and compare runs, and manage models.

The functions here are for notebooks: they return DataFrames and import MLflow when called. Torch is imported only to
load a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from asr_lab.models.recognizer import Recognizer


def load_model(uri: str) -> Recognizer:
    """Load a recogniser by `models:/NAME@alias`, `models:/NAME/3`, `runs:/ID/model`, or its folder.

    Raises `AsrLabError` if there is no such model.
    """
    from asr_lab.models import load_model as load_folder
    from asr_lab.tracking.models.model_store import MlflowStore

    store = MlflowStore()
    return load_folder(store.resolve(uri), store.resolve)


def find_runs(
    pattern: str = "",
    family: str = "",
    *,
    where: str = "",
    since: str = "",
    status: str = "",
    archived: bool = False,
    children: bool = False,
    limit: int = 10_000,
) -> pd.DataFrame:
    """Return one row per run, newest first, as `asr-lab list`: `run, family, kind, state, started, seconds`, its
    deciding `metric` and `value`, `marks`, `bytes`; then all parameters and metrics by name. Indexed by run id.

    `where` is a filter in MLflow's grammar. Raises `AsrLabError` if it cannot be parsed.
    """
    import pandas as pd

    from asr_lab.tracking.queries import overview, runs

    matches = runs.find(
        pattern, family, where=where, since=since, status=status, archived=archived, children=children, limit=limit
    )
    ids = pd.Index([run.info.run_id for run in matches], name="run_id")
    table = overview.overview(matches).drop(columns="id").set_index(ids)
    table["started"] = pd.to_datetime(table["started"], utc=True)
    values = pd.DataFrame([run.data.params | runs.metrics_of(run) for run in matches], index=ids)
    return table.join(values[sorted(values)] if len(values) else values)


def compare_runs(runs: Sequence[str], *, metric: str = "", vs: str = "best") -> pd.DataFrame:
    """Return one row per run, best first: the parameters that differ, the family's main metrics, and `difference, low,
    high, p` to the run `vs` by paired bootstrap. p is corrected for the number of comparisons (Holm; for `best`, which
    was chosen on the same utterances, for all pairs). Indexed by run id.

    `runs` are names, ids, or the first four or more characters of ids. The column `silent` gives the reason for a
    missing `p`. Raises `AsrLabError` if there is no `best` because data or text normalisation differ.
    """
    from asr_lab.tracking.queries.comparison import compare
    from asr_lab.tracking.queries.find import find_each

    compared = compare(find_each(runs), metric=metric, vs=vs)
    frame = compared.report.frame
    if "p" not in frame:
        return frame
    return frame.assign(silent=[compared.silent.get(run_id, "") for run_id in frame.index])


def utterances(run: str, split: str = "test") -> pd.DataFrame:
    """Return one row per utterance of a scored split: `id, reference, hypothesis`, errors, lengths, slices.

    Raises `AsrLabError` if the run has none.
    """
    from asr_lab.tracking.queries import score_tables
    from asr_lab.tracking.queries.find import find_run

    return score_tables.utterances(find_run(run), split)


def curves(runs: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Return every logged value of the metrics: `run, metric, step, seconds` (since the start of the run), `value`."""
    from asr_lab.tracking.queries import curves as learning_curves
    from asr_lab.tracking.queries.find import find_each

    return learning_curves.curves(find_each(runs), metrics)
