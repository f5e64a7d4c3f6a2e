"""Rows for a list of runs: state, duration, deciding metric, marks, size on this disk."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from mlflow.entities import Run

from asr_lab.families import deciding
from asr_lab.system import processes
from asr_lab.system.times import local_time
from asr_lab.tracking.artifacts import folder_size, local_folder
from asr_lab.tracking.clock import store_now_ms
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.run_index import read_registrations
from asr_lab.tracking.store import client
from asr_lab.tracking.tags import (
    ARCHIVED,
    FAMILY,
    KEEP,
    KIND,
    PROCESS,
)

CUT_OFF = "cut off"
_COLUMNS = ("run", "id", "family", "kind", "state", "started", "seconds", "metric", "value", "marks", "bytes")


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per run: `run, id, family, kind, state, started` (ISO 8601, local time), `seconds` (until now
    while it runs), its deciding `metric` and `value`, `marks` (kept, archived, registered names), `bytes` on this disk
    (missing: remote).
    """
    versions = registered_names([run.info.run_id for run in runs])
    rows = []
    for run in runs:
        tags, family = run.data.tags, run.data.tags.get(FAMILY, "")
        metrics = metrics_of(run)
        metric = deciding(family, metrics) or deciding(family)
        rows.append(
            {
                "run": run.info.run_name,
                "id": run.info.run_id[:8],
                "family": family,
                "kind": tags.get(KIND, ""),
                "state": state(run),
                "started": local_time(run.info.start_time, "T"),
                "seconds": round(seconds(run), 1),
                "metric": metric,
                "value": metrics.get(metric),
                "marks": ", ".join([*_marks(run), *versions.get(run.info.run_id, ())]),
                "bytes": size_on_disk(run),
            }
        )
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.astype({"value": float, "bytes": "Int64"})


def state(run: Run) -> str:
    """Return `running`, `finished`, `failed`, `killed`, or `cut off`: RUNNING although its process is gone."""
    if run.info.status == "RUNNING" and processes.is_gone(run.data.tags.get(PROCESS, "")):
        return CUT_OFF
    return str(run.info.status).lower()


def seconds(run: Run) -> float:
    """Return the duration of a run, until now while it runs; NaN if it was cut off."""
    if run.info.end_time:
        return float(run.info.end_time - run.info.start_time) / 1000
    return float("nan") if state(run) == CUT_OFF else max(0, store_now_ms() - run.info.start_time) / 1000


def _marks(run: Run) -> list[str]:
    marks = [word for tag, word in ((KEEP, "kept"), (ARCHIVED, "archived")) if tag in run.data.tags]
    return marks + (["deleted"] if run.info.lifecycle_stage == "deleted" else [])


def registered_names(run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return run id -> its registered versions, as `NAME/3@champion`, in the order of names and versions."""
    by_id = read_registrations(client(), run_ids).by_id if run_ids else {}
    return {
        run_id: [
            str(one).replace(" ", "") for one in sorted(by_id[run_id], key=lambda one: (one.name, int(one.version)))
        ]
        for run_id in run_ids
        if run_id in by_id
    }


def size_on_disk(run: Run) -> int | None:
    """Return the bytes of a run's artifacts and logged models; None if they are not local."""
    folder = local_folder(run.info.artifact_uri)
    if folder is None or not folder.is_dir():
        return None
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [folder.parents[1] / "models" / output.model_id for output in outputs]  # where MLflow puts them
    return sum(folder_size(path) for path in (folder, *models))
