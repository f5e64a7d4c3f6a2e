"""The tracking store: which one, and reaching it with one clear message when it cannot be reached."""

from __future__ import annotations

import functools
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from mlflow import MlflowClient, set_tracking_uri
from mlflow.exceptions import MlflowException

from asr_lab.errors import AsrLabError

DEFAULT_URI = "sqlite:///mlflow.db"
_PATIENCE_S = 5.0


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db` in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


@functools.cache
def _quiet() -> None:
    """What MLflow says of itself on every start is not for our users."""
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent", "mlflow.models.model"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    warnings.filterwarnings("ignore", message=".*An input example was not provided.*")
    warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method.*")


@functools.cache
def _knock(uri: str) -> None:
    """Whether a server listens at all, found out within seconds: MLflow itself would try for minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=_PATIENCE_S).close()
    except OSError as error:
        raise AsrLabError(
            f"the tracking server does not answer: {error.strerror or error}",
            where=uri,
            hint="MLFLOW_TRACKING_URI names it; unset, runs are kept in sqlite:///mlflow.db",
            next_command="mlflow server --host 127.0.0.1",
        ) from error


def client() -> MlflowClient:
    """A client of the tracking store, which is also made the one that `mlflow` itself uses.

    Raises `AsrLabError` when the store is a server that does not answer.
    """
    _quiet()
    _knock(tracking_uri())
    set_tracking_uri(tracking_uri())
    return MlflowClient()


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turn what MLflow raises inside into one message that says what was tried, and where."""
    try:
        yield
    except MlflowException as error:
        lost = "MLFLOW_RUN_ID" in os.environ and error.error_code == "RESOURCE_DOES_NOT_EXIST"
        raise AsrLabError(
            f"{what}: {error.message.splitlines()[0]}",
            where=tracking_uri(),
            hint="type mlflow run in the project's own folder, or set MLFLOW_TRACKING_URI" if lost else "",
        ) from error


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, made when it is not there; one that was deleted in the UI is restored."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
