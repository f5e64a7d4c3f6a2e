"""The tracking store: which one, and reaching it with one clear message when it cannot be reached."""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient, set_tracking_uri
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from asr_lab.errors import AsrLabError
from asr_lab.tracking.connection import (
    StoreUnavailableError,
    check_connection,
    is_transient,
    sqlite_file,
    without_password,
    wrong_schema,
)

DEFAULT_URI = "sqlite:///mlflow.db"
# MLflow tries seven times and waits for minutes; who records a run has the spool, everyone else wants an answer
_HTTP = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"}
_EXPERIMENTS_AT_ONCE = 1000


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db` in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def shown_uri() -> str:
    """The store as it may be shown: its password never is."""
    return without_password(tracking_uri())


def same_store(one: str, other: str) -> bool:
    """Whether two URIs mean the same store, seen from this folder; passwords change, and do not count."""
    return _canonical(one) == _canonical(other)


def _canonical(uri: str) -> str:
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    return str(file.absolute()) if file else without_password(uri).rstrip("/")


@functools.cache
def silence_mlflow() -> None:
    """What MLflow says of itself on every start is not for our users."""
    for name in ("alembic", "mlflow.tracking.fluent", "mlflow.models.model"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what it raises anyway
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    warnings.filterwarnings("ignore", message=".*An input example was not provided.*")
    warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method.*")


_check_once = functools.cache(check_connection)


def client(*, again: bool = False) -> MlflowClient:
    """A client of the tracking store, which is also made the one that `mlflow` itself uses.

    Raises `AsrLabError` when the store cannot be used (a file that is none, no rights, the schema of another MLflow),
    and `StoreUnavailableError` when it is a server that does not answer; where it once did, only `again` asks it.
    """
    silence_mlflow()
    for name, value in _HTTP.items():
        os.environ.setdefault(name, value)
    (check_connection if again else _check_once)(tracking_uri())
    set_tracking_uri(tracking_uri())
    with explain_store_errors("the tracking store cannot be used"):  # such as one of an older schema
        return MlflowClient()


_once = threading.Lock()


@contextmanager
def without_retries() -> Iterator[None]:
    """Around a request that makes something: MLflow must not send it twice by itself when the answer is late."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    with _once:
        before = os.environ.get(name, _HTTP[name])
        os.environ[name] = "0"
        try:
            yield
        finally:
            os.environ[name] = before


def is_final(error: BaseException) -> bool:
    """Whether asking again would get the same answer: what was asked is wrong, not the moment."""
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
        if schema := wrong_schema(message, tracking_uri()):
            raise schema from error
        is_server = urlsplit(tracking_uri()).scheme in ("http", "https")
        why, hint = _explain_refusal(message)
        if is_transient(error) or (is_server and not is_final(error)):
            raise StoreUnavailableError(f"{what}: {why}", where=where or shown_uri(), hint=hint) from error
        lost = "MLFLOW_RUN_ID" in os.environ and is_missing(error)
        raise AsrLabError(
            f"{what}: {first_line(message)}",
            where=where or shown_uri(),
            hint="type mlflow run in the project's own folder, or set MLFLOW_TRACKING_URI" if lost else "",
        ) from error


def is_missing(error: BaseException) -> bool:
    """Whether the store says that what was asked for is not there."""
    return isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST"


def first_line(message: str) -> str:
    """The first line of what a store said, as it may be shown."""
    return without_password((message.splitlines() or [""])[0])


def _explain_refusal(message: str) -> tuple[str, str]:
    """(Why a server did not do what it was asked, what to do about it)."""
    code = re.search(r"failed with error code (401|403)", message)
    if code is None:
        return first_line(message), ""
    why = "the server does not know you (401)" if code[1] == "401" else "the server gives you no right to it (403)"
    return why, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who you are"


def all_pages(read: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """Everything that one of MLflow's searches gives, page by page."""
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
    """Runs by MLflow's filter grammar, newest first, page by page."""
    if experiments:
        yield from all_pages(client.search_runs, experiments, condition, view, page_size, [order])


def experiment_ids(client: MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """Every experiment that is not deleted: runs are told by their tags, wherever they lie."""
    experiments = all_pages(client.search_experiments, view, max_results=_EXPERIMENTS_AT_ONCE)
    return [str(experiment.experiment_id) for experiment in experiments]


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, made when it is not there; one that was deleted in the UI is restored."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
