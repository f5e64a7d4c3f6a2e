"""Erasure records: who erased a speaker's data, when, and how much; nothing of the speaker.

The name is stored as a salted scrypt hash: it can be checked whether NAME was erased, but names cannot be read. It does
not protect against trying all names; each attempt takes a tenth of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Set
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run

from asr_lab.tracking import artifacts
from asr_lab.tracking.provenance import user_name
from asr_lab.tracking.store import experiment_id, experiment_ids, search_runs
from asr_lab.tracking.tags import FORGOTTEN, FORGOTTEN_NAMES, KIND, NOTE

EXPERIMENT = "forgotten"


@dataclass(frozen=True)
class ErasureRecord:
    """The run that records an erasure."""

    run_id: str


def open_record(client: MlflowClient, speaker: str, counts: dict[str, int], also_called: Set[str]) -> Run:
    """Create the record of an erasure, or return an unfinished one; it is RUNNING until all is erased.

    Until then it holds the speaker's names in tables, whose source may be erased before the rest.
    """
    if record := unfinished_record(client, speaker):
        return record
    with artifacts.explain_artifact_errors("the record cannot be written"):
        tags = {FORGOTTEN: _hashed(speaker, os.urandom(16)), KIND: "forget", "mlflow.user": user_name()}
        tags |= {NOTE: "Erasure record: the data of a speaker were erased; the parameters count what."}
        run = client.create_run(experiment_id(client, EXPERIMENT), tags=tags, run_name="forgotten")
        if also_called:
            client.set_tag(run.info.run_id, FORGOTTEN_NAMES, json.dumps(sorted(also_called)))
        for what, number in counts.items():
            client.log_param(run.info.run_id, what, number)
        return run


def recorded_names(record: Run | None) -> set[str]:
    """Return the speaker's names in tables from an unfinished record."""
    return set(json.loads(record.data.tags.get(FORGOTTEN_NAMES, "[]"))) if record else set()


def drop_names(client: MlflowClient, record: Run) -> None:
    """Delete the speaker's names in tables from the record."""
    with artifacts.explain_artifact_errors("the record cannot be written"):
        if FORGOTTEN_NAMES in client.get_run(record.info.run_id).data.tags:
            client.delete_tag(record.info.run_id, FORGOTTEN_NAMES)


def finish_record(client: MlflowClient, record: Run) -> ErasureRecord:
    """Mark the erasure as complete."""
    with artifacts.explain_artifact_errors("the record cannot be written"):
        client.set_terminated(record.info.run_id)
    return ErasureRecord(record.info.run_id)


def unfinished_record(client: MlflowClient, speaker: str) -> Run | None:
    """Return the record of an interrupted erasure of this speaker, or None."""
    with artifacts.explain_artifact_errors("the records cannot be read"):
        condition = f"attributes.status = 'RUNNING' and tags.`{FORGOTTEN}` LIKE '%'"
        records = search_runs(client, experiment_ids(client), condition)
        return next((one for one in records if _is(speaker, one.data.tags.get(FORGOTTEN, ""))), None)


def _hashed(speaker: str, salt: bytes) -> str:
    key = hashlib.scrypt(speaker.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
    return f"scrypt${salt.hex()}${key.hex()}"


def _is(speaker: str, mark: str) -> bool:
    parts = mark.split("$")
    return len(parts) == 3 and _hashed(speaker, bytes.fromhex(parts[1])) == mark
