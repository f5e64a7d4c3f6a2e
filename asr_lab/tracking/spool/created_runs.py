"""Find the tracking run created from a spool by its tag: the create response may have been lost."""

from __future__ import annotations

from mlflow import MlflowClient

from asr_lab.tracking.connection import StoreUnavailableError
from asr_lab.tracking.spool.spool import Spool
from asr_lab.tracking.store import experiment_ids, search_runs
from asr_lab.tracking.tags import SPOOL


def runs_of_spool(client: MlflowClient, id: str) -> list[str]:
    """Return the ids of the runs created from this spool, the earliest first."""
    condition = f"tags.`{SPOOL}` = '{id}'"
    runs = search_runs(client, experiment_ids(client), condition, order="attributes.start_time")
    return [str(run.info.run_id) for run in runs]


def run_of_spool(client: MlflowClient, id: str) -> str:
    """Return the id of the run created from this spool, or ""."""
    return next(iter(runs_of_spool(client, id)), "")


def run_id_on_store(client: MlflowClient, beside: Spool, id: str) -> str:
    """Return the id on the store of a run that may have started offline, with a spool next to this one.

    Raises `StoreUnavailableError` if the store does not have it yet.
    """
    folder = beside.folder.parent / id
    if folder.is_dir():
        run_id = Spool(folder).state.run_id
        if not run_id:
            raise StoreUnavailableError(f"run {id[:8]}, which this one belongs to, is not on the store yet")
        return run_id
    return run_of_spool(client, id) or id
