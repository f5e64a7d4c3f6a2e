"""Access to the tracking store: URI, client, searches, and errors as one clear message."""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient, get_tracking_uri, set_tracking_uri
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking.default_experiment import DEFAULT_EXPERIMENT_ID
from sqlalchemy.exc import SQLAlchemyError

from asr_lab.errors import AsrLabError
from asr_lab.tracking.connection import (
    StoreUnavailableError,
    check_connection,
    is_transient,
    sqlite_file,
    without_password,
)
from asr_lab.tracking.connection import tracking_uri as tracking_uri
from asr_lab.tracking.migrations import make_ready
from asr_lab.tracking.moved_store import warn_moved
from asr_lab.tracking.notifications import report
from asr_lab.tracking.schema import State

# MLflow retries for minutes by default; recording has the spool, other commands should fail fast
_HTTP = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"}
_EXPERIMENTS_AT_ONCE = 1000


def shown_uri() -> str:
    """Return the store's URI without its password."""
    return without_password(tracking_uri())


def same_store(one: str, other: str) -> bool:
    """Return whether two URIs name the same store, seen from this folder; passwords are ignored."""
    return _canonical(one) == _canonical(other)


def _canonical(uri: str) -> str:
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    return str(file.absolute()) if file else without_password(uri).rstrip("/")


@functools.cache
def silence_mlflow() -> None:
    """Silence the messages that MLflow logs on every start."""
    for name in ("alembic", "mlflow.tracking.fluent", "mlflow.models.model", "mlflow.pyfunc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # logs a traceback of what it raises
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method.*")


_make_ready_once = functools.cache(make_ready)


def client(*, again: bool = False) -> MlflowClient:
    """Return a client of the tracking store, and make that the store of `mlflow` itself.

    A database without tables gets them; one of another MLflow is refused, and left as it is. Raises `AsrLabError` when
    the store cannot be used (not a database, no permission, the schema of another MLflow), and `StoreUnavailableError`
    if a server does not answer; a server that answered once is only checked `again`.
    """
    silence_mlflow()
    for name, value in _HTTP.items():
        os.environ.setdefault(name, value)
    uri = tracking_uri()
    (make_ready if again or uri.startswith("sqlite") else _make_ready_once)(uri)
    warn_moved(uri, Path.cwd())
    if not os.environ.get("MLFLOW_TRACKING_URI") == get_tracking_uri() == uri:  # setting it resets MLflow's tracer
        set_tracking_uri(uri)
    with explain_store_errors("the tracking store cannot be used"):
        return MlflowClient()


def has_tables() -> bool:
    """Return whether the tracking store was used before: a command that only reads creates none."""
    uri = tracking_uri()
    return uri.startswith("http") or check_connection(uri) is State.READY


_once = threading.Lock()


@contextmanager
def without_retries() -> Iterator[None]:
    """Disable MLflow's retries: a request that creates something must not be sent twice if the answer is late."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    with _once:
        before = os.environ.get(name, _HTTP[name])
        os.environ[name] = "0"
        try:
            yield
        finally:
            os.environ[name] = before


def is_final(error: BaseException) -> bool:
    """Return whether a retry would fail in the same way."""
    return isinstance(error, MlflowException) and error.error_code in _FINAL and not is_transient(error)


@contextmanager
def explain_store_errors(what: str, where: str = "") -> Iterator[None]:
    """Raise what MLflow and its database raise inside as an `AsrLabError`: `what` failed, why, and where.

    Raises `StoreUnavailableError` where a later attempt may succeed. `where` is the tracking store by default.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        message = str(error)
        is_server = urlsplit(tracking_uri()).scheme in ("http", "https")
        why, hint = _explain_refusal(message)
        if is_transient(error) or (is_server and not is_final(error)):
            raise StoreUnavailableError(f"{what}: {why}", where=where or shown_uri(), hint=hint) from error
        lost = "MLFLOW_RUN_ID" in os.environ and is_missing(error)
        raise AsrLabError(
            f"{what}: {first_line(message)}",
            where=where or shown_uri(),
            hint="call mlflow run in the project's own folder, or set MLFLOW_TRACKING_URI" if lost else "",
        ) from error


def is_missing(error: BaseException) -> bool:
    """Return whether the store reports that something does not exist."""
    return isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST"


def first_line(message: str) -> str:
    """Return the first line of a message, without passwords."""
    return without_password((message.splitlines() or [""])[0])


def _explain_refusal(message: str) -> tuple[str, str]:
    """Return why a server refused a request, and a hint."""
    code = re.search(r"failed with error code (401|403)", message)
    if code is None:
        return first_line(message), ""
    why = "the server requires a login (401)" if code[1] == "401" else "the server denies permission (403)"
    return why, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


def all_pages(read: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """Yield all results of one of MLflow's searches, page by page."""
    token = None
    while True:
        page = read(*arguments, **options, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def search_runs(
    client: MlflowClient,
    experiments: Sequence[str],
    condition: str,
    view: int = ViewType.ACTIVE_ONLY,
    *,
    page_size: int = 1000,
    order: str = "attributes.start_time DESC",
) -> Iterator[Run]:
    """Yield runs by a filter in MLflow's grammar, newest first, page by page."""
    if experiments:
        yield from all_pages(client.search_runs, experiments, condition, view, page_size, [order])


def experiment_ids(client: MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """Return the ids of all experiments; runs of asr_lab are identified by tags, not by experiment."""
    experiments = all_pages(client.search_experiments, view, max_results=_EXPERIMENTS_AT_ONCE)
    return [str(experiment.experiment_id) for experiment in experiments]


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment of this name; create it if it does not exist."""
    return str(experiment_of(client, name).experiment_id)


def experiment_of(client: MlflowClient, name: str) -> Experiment:
    """Return the experiment of this name; create it if it does not exist.

    A deleted experiment keeps its name and stays deleted with its runs: `NAME-2`, `NAME-3`, ... takes its place.
    """
    for number in count(1):
        called = name if number == 1 else f"{name}-{number}"
        existing = client.get_experiment_by_name(called)
        if existing is None:
            if number > 1:
                report(f"the experiment {name} is deleted and stays so; new runs go to {called}")
            return _created(client, called)
        if existing.lifecycle_stage != "deleted":
            return existing
    raise AssertionError


def default_experiment_id(client: MlflowClient) -> str:
    """Return the id of MLflow's default experiment, or of the one that takes its place if it is deleted."""
    default = client.get_experiment(DEFAULT_EXPERIMENT_ID)
    return experiment_id(client, default.name) if default.lifecycle_stage == "deleted" else DEFAULT_EXPERIMENT_ID


def _created(client: MlflowClient, name: str) -> Experiment:
    try:
        return client.get_experiment(client.create_experiment(name))
    except MlflowException as error:
        existing = client.get_experiment_by_name(name) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
        if existing is None:
            raise
        return existing  # another process was faster
