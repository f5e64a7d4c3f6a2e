"""`python -m asr_lab.tracking.unused_run ID WHY`: end the run that MLflow made for a command that was stopped."""

from __future__ import annotations

import sys

from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import explain_store_errors
from asr_lab.tracking.tags import ERROR


def kill(run_id: str, why: str) -> None:
    """End it as KILLED, also where `mlflow run` called it FAILED. Raises `AsrLabError` if the store does not answer."""
    client = tracking_client()
    with explain_store_errors("the run cannot be closed"):
        client.set_tag(run_id, ERROR, why)
        client.set_terminated(run_id, "KILLED")


if __name__ == "__main__":
    kill(*sys.argv[1:])
