"""The record of an erasure: who asked for it, when, and how many of what went; nothing of the person.

The name is kept only as a salted scrypt hash. Whoever asks "was NAME forgotten, and when?" can be answered, while
nobody reads names off the records. It hides a name from a reader, not from someone who tries every name there is:
scrypt makes each try cost a tenth of a second.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Set
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run

from asr_lab.tracking import artifacts
from asr_lab.tracking.store import experiment_id, search_runs
from asr_lab.tracking.tags import FORGOTTEN, FORGOTTEN_NAMES, KIND, NOTE

EXPERIMENT = "forgotten"


@dataclass(frozen=True)
class ErasureRecord:
    """Where the record of an erasure is."""

    run_id: str


def open_record(client: MlflowClient, speaker: str, counts: dict[str, int], also_called: Set[str]) -> Run:
    """The record of an erasure that begins, or of one that was begun and cut off; RUNNING until all is erased.

    Until then it holds how the person is called in tables: what says so may be erased before all else is.
    """
    if found := unfinished_record(client, speaker):
        return found
    with artifacts.explain_artifact_errors("the record cannot be written"):
        tags = {FORGOTTEN: _hashed(speaker, os.urandom(16)), KIND: "forget", "mlflow.user": getpass.getuser()}
        tags |= {NOTE: "A person was forgotten: what was erased is counted in the parameters."}
        run = client.create_run(experiment_id(client, EXPERIMENT), tags=tags, run_name="forgotten")
        if also_called:
            client.set_tag(run.info.run_id, FORGOTTEN_NAMES, json.dumps(sorted(also_called)))
        for what, number in counts.items():
            client.log_param(run.info.run_id, what, number)
        return run


def recorded_names(record: Run | None) -> set[str]:
    """How the person of an unfinished record is called in tables."""
    return set(json.loads(record.data.tags.get(FORGOTTEN_NAMES, "[]"))) if record else set()


def drop_names(client: MlflowClient, record: Run) -> None:
    """Take away how the person is called in tables: nothing is left that this could find."""
    with artifacts.explain_artifact_errors("the record cannot be written"):
        if FORGOTTEN_NAMES in client.get_run(record.info.run_id).data.tags:
            client.delete_tag(record.info.run_id, FORGOTTEN_NAMES)


def finish_record(client: MlflowClient, record: Run) -> ErasureRecord:
    """Say that all is erased."""
    with artifacts.explain_artifact_errors("the record cannot be written"):
        client.set_terminated(record.info.run_id)
    return ErasureRecord(record.info.run_id)


def unfinished_record(client: MlflowClient, speaker: str) -> Run | None:
    """The record of an erasure of this person that was cut off."""
    with artifacts.explain_artifact_errors("the records cannot be read"):
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            return None
        records = search_runs(client, [experiment.experiment_id], "attributes.status = 'RUNNING'")
        return next((one for one in records if _is(speaker, one.data.tags.get(FORGOTTEN, ""))), None)


def _hashed(speaker: str, salt: bytes) -> str:
    key = hashlib.scrypt(speaker.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
    return f"scrypt${salt.hex()}${key.hex()}"


def _is(speaker: str, mark: str) -> bool:
    parts = mark.split("$")
    return len(parts) == 3 and _hashed(speaker, bytes.fromhex(parts[1])) == mark
