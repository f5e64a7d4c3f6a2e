"""Score tables of runs (`eval/<split>.parquet`): one row per utterance."""

from __future__ import annotations

import tempfile
from pathlib import PurePosixPath

import pandas as pd
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

from asr_lab.errors import AsrLabError, listing, reason
from asr_lab.tracking.store import client, explain_store_errors

_COLUMNS = ("id", "reference", "hypothesis")


def scored_splits(run: Run) -> set[str]:
    """Return the splits with scored utterances."""
    with explain_store_errors("the artifacts cannot be listed"):
        paths = [PurePosixPath(item.path) for item in client().list_artifacts(run.info.run_id, "eval")]
    tables = {path.stem for path in paths if path.suffix == ".parquet"}
    return {name for name in tables if not name.endswith(_NO_SPLITS)}


_NO_SPLITS = ("_confusions", "_slices", "_parts")  # other tables of a split


def utterances(run: Run, split: str) -> pd.DataFrame:
    """Return one row per utterance of a scored split: `id, reference, hypothesis`, error counts, slices.

    Raises `AsrLabError` if the run has none, or they cannot be read.
    """
    path, here = f"eval/{split}.parquet", scored_splits(run)
    if split not in here:
        where = f"{path} of {run.info.run_name}"
        raise AsrLabError(
            f"it has no utterances of {split}", where=where, allowed=listing(sorted(here)) or "it has none"
        )
    table = read_table(run, path)
    if lacking := [name for name in _COLUMNS if name not in table]:
        raise AsrLabError(f"its utterances of {split} lack {listing(lacking)}", where=path)
    if table["id"].duplicated().any():
        raise AsrLabError(f"its utterances of {split} have the same id more than once", where=path)
    return table


def read_table(run: Run, path: str) -> pd.DataFrame:
    """Return a table that a run logged; raises `AsrLabError` if it cannot be read."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = download_artifacts(run_id=run.info.run_id, artifact_path=path, dst_path=folder)
            return pd.read_parquet(file)
    except Exception as error:  # artifact stores and the parquet reader raise anything
        where = f"{path} of {run.info.run_name}"
        raise AsrLabError(f"its utterances cannot be read: {reason(error).splitlines()[0]}", where=where) from error
