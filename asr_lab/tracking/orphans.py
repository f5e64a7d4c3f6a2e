"""Orphaned runs, whose process is gone: find them in the spool or on the store, continue or close them."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ARMS_DONE, PHASES_DONE, RunSpec, Status
from asr_lab.system import processes
from asr_lab.tracking.spool.delivery import Delivery
from asr_lab.tracking.spool.spool import ROOT, Spool, spools
from asr_lab.tracking.store import experiment_ids, search_runs
from asr_lab.tracking.tags import ERROR, KIND, PROCESS, RESTORING, SIGNATURE, SPOOL

CHECKPOINTS = Path("checkpoints")
_PATIENCE_S = 60.0
_RESUMES_FROM = ("checkpoint-*", PHASES_DONE, ARMS_DONE)


def find_in_spool(spec: RunSpec, *, own: bool) -> Spool | None:
    """Return the newest interrupted run of this signature in the spool, locked; None if there is none.

    `own`: of those that earlier attempts of this job began.
    """
    is_gone = processes.is_earlier_attempt if own else processes.is_gone

    def same(spool: Spool) -> bool:
        header = spool.header
        if (header.signature, header.kind) != (spec.signature, spec.kind) or not is_gone(header.process):
            return False
        status = spool.ended()
        return not status or (status != "FINISHED" and _is_resumable(spool.id))

    for spool in reversed(spools(ROOT, same)):
        if _locked(spool):
            return spool
    return None


def _locked(spool: Spool) -> bool:
    """Lock a spool, waiting while it is being shipped or its process ends."""
    until = time.monotonic() + _PATIENCE_S
    while not spool.lock() and spool.folder.is_dir() and time.monotonic() < until:
        time.sleep(0.2)
    return spool.folder.is_dir() and spool.locked


def find_on_store(client: MlflowClient, spec: RunSpec, *, own: bool) -> str:
    """Return the id of the newest interrupted run of this signature on the store, or "".

    It is RUNNING although its process is gone, or FAILED or KILLED with local checkpoints to resume from. `own`: of
    those that earlier attempts of this job began.
    """
    condition = (
        f"attributes.status != 'FINISHED' and tags.`{SIGNATURE}` = '{spec.signature}' and tags.`{KIND}` = '{spec.kind}'"
    )
    for run in _search(client, condition):
        if RESTORING in run.data.tags:  # a restore from a bundle, not an interrupted run
            continue
        process = run.data.tags.get(PROCESS, "")
        if own and not processes.is_earlier_attempt(process):
            continue
        id, began_as = run.info.run_id, run.data.tags.get(SPOOL, "")
        running = run.info.status == "RUNNING"
        gone = processes.is_gone(process)
        if gone if running else _is_resumable(id) or _is_resumable(began_as):
            if began_as:
                move_checkpoints(began_as, id)
            return str(id)
    return ""


def close(client: MlflowClient | None, run_id: str, status: Status, why: str) -> None:
    """End a run whose process is gone, in the spool and on the store; do nothing if it ended or is being recorded."""
    spool = next(iter(spools(ROOT, lambda one: run_id in (one.id, one.state.run_id))), None)
    if spool and _locked(spool):
        try:
            spool.seal_console()
            if not spool.ended():
                spool.append("tags", values={ERROR: why})
                spool.append("finish", status=status)
            if client:
                with suppress(AsrLabError):  # left for `asr-lab sync`
                    Delivery(spool, client).deliver()
        finally:
            (spool.release if spool.waiting() else spool.remove)()
    elif client and not spool:
        for run in _search(client, f"attributes.run_id = '{run_id}' and attributes.status = 'RUNNING'"):
            client.set_tag(run.info.run_id, ERROR, why)
            client.set_terminated(run.info.run_id, status)
    shutil.rmtree(CHECKPOINTS / run_id, ignore_errors=True)


def is_active(client: MlflowClient, run_id: str) -> bool:
    """Return whether the store has the run and it is not deleted."""
    return any(run.info.run_id == run_id for run in _search(client, f"attributes.run_id = '{run_id}'"))


def close_unstarted(client: MlflowClient) -> None:
    """Close runs whose process ended before they had a signature: they cannot be continued."""
    condition = f"attributes.status = 'RUNNING' and tags.`{PROCESS}` IS NOT NULL and tags.`{SIGNATURE}` IS NULL"
    for run in _search(client, condition):
        if RESTORING not in run.data.tags and processes.is_gone(run.data.tags[PROCESS]):
            client.set_terminated(run.info.run_id, "KILLED")


def move_checkpoints(old: str, new: str) -> None:
    """Move the checkpoints of one run to another."""
    if (CHECKPOINTS / old).is_dir():
        shutil.rmtree(CHECKPOINTS / new, ignore_errors=True)
        (CHECKPOINTS / old).rename(CHECKPOINTS / new)


def _is_resumable(id: str) -> bool:
    """Return whether there are checkpoints, or a list of finished trainings, to resume from."""
    return bool(id) and any(any((CHECKPOINTS / id).glob(pattern)) for pattern in _RESUMES_FROM)


def _search(client: MlflowClient, condition: str) -> list[Run]:
    return list(search_runs(client, experiment_ids(client), condition))
