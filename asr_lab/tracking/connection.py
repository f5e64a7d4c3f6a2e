"""Check within seconds that a tracking store can be used; MLflow itself retries for minutes."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import ssl
import urllib.error
import urllib.request
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import create_engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from asr_lab.errors import AsrLabError

_TIMEOUT_S = 3.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_SCHEMA_MISMATCH = re.compile(r"out-of-date database schema \(found version (\w+)")
_DATABASE_ERROR = re.compile(r"\.(Operational|Interface)Error\b|database is locked|disk I/O error")
_PERMANENT = re.compile(r"no such (table|column)|does not exist|authentication failed|access denied", re.IGNORECASE)
_TEMPORARY = re.compile(r"starting up|shutting down|recovery mode|too many|closed the connection|terminat")
_PASSWORDS = (
    (re.compile(r"(sql[+\w]*://[^:/@\s]*):\S*@"), r"\1:***@"),  # database passwords may contain any character
    (re.compile(r"(://[^:/@\s]*):[^/\s]*@"), r"\1:***@"),
    (re.compile(r"([?&]\w*pass(?:word|wd)?=)[^&\s]*", re.IGNORECASE), r"\1***"),
)


class StoreUnavailableError(AsrLabError):
    """The tracking store does not answer, or refuses for now; a later attempt may succeed."""


def check_connection(uri: str) -> None:
    """Raise `StoreUnavailableError` if a server does not answer, `AsrLabError` if the URI cannot be a store."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme == "sqlite":
        if file := sqlite_file(uri):
            _check_sqlite_file(file, uri)
    elif scheme in ("http", "https"):
        _check_health(uri)
    elif scheme in _PORTS:
        _check_port(uri, _PORTS[scheme])
        _check_login(uri)


def _check_health(uri: str) -> None:
    try:
        without_user = re.sub(r"//[^/@]*@", "//", uri).rstrip("/")  # /health needs no login
        urllib.request.urlopen(f"{without_user}/health", timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:  # any other status is an answer
            raise _unavailable(uri, "server", f"{error.code} {error.reason}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # the server answered; MLflow verifies certificates
            raise _unavailable(uri, "server", str(getattr(reason, "strerror", None) or reason)) from error


def _check_port(uri: str, usual_port: int) -> None:
    parts = urlsplit(uri)
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or usual_port), _TIMEOUT_S).close()
    except OSError as error:
        raise _unavailable(uri, "database", str(error.strerror or error)) from error


def _unavailable(uri: str, what: str, why: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"the tracking {what} does not answer: {why}",
        where=without_password(uri),
        hint="MLFLOW_TRACKING_URI names the store; without it, sqlite:///mlflow.db is used",
        next_command="mlflow server --host 127.0.0.1" if what == "server" else "asr-lab doctor",
    )


def _check_login(uri: str) -> None:
    """Log in once; MLflow would retry for hours after a refusal."""
    try:
        engine = create_engine(uri)
        engine.connect().close()
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        if _TEMPORARY.search(str(error)):
            raise _unavailable(uri, "database", str(error).splitlines()[0]) from error
        missing = error.name if isinstance(error, ImportError) else ""
        raise AsrLabError(
            f"the tracking database cannot be used: {str(error).splitlines()[0]}",
            where=without_password(uri),
            next_command=f"pip install '{missing}[binary]'" if missing == "psycopg" else "",
        ) from error


def without_password(uri: str) -> str:
    """Mask the passwords of the URIs in a text."""
    for pattern, shown in _PASSWORDS:
        uri = pattern.sub(shown, uri)
    return uri


def is_transient(error: BaseException) -> bool:
    """Return whether a database error is temporary: locked, restarting, disk I/O.

    MLflow passes on SQLAlchemy's message, also from a server, under an unspecific error code.
    """
    chain = [error, error.__cause__]
    is_database = any(isinstance(one, OperationalError | InterfaceError) for one in chain)
    message = str(error)
    return bool(is_database or _DATABASE_ERROR.search(message)) and not _PERMANENT.search(message)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of `sqlite:///mlflow.db`; None for a store in memory."""
    name = re.sub(r"^sqlite(\+\w+)?:/{0,3}", "", uri).split("?")[0]
    return Path(name) if name and name != ":memory:" else None


def _check_sqlite_file(file: Path, uri: str) -> None:
    if file.is_dir():
        raise AsrLabError("the tracking store is a folder, not a file", where=uri, allowed="sqlite:///FILE.db")
    if not file.exists():
        above = next(folder for folder in file.absolute().parents if folder.exists())
        if not os.access(above, os.W_OK):
            raise AsrLabError("there is no tracking store, and none may be made here", where=str(file), hint=_RIGHTS)
        return
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(file.absolute().parent, os.W_OK):
        raise AsrLabError("the tracking store may not be written", where=str(file), hint=_RIGHTS)
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError:  # locked by another process; MLflow waits
        return
    except sqlite3.DatabaseError as error:
        raise AsrLabError(f"the tracking store is no SQLite database: {error}", where=str(file), hint=_OTHER) from error
    if tables and "experiments" not in tables:
        raise AsrLabError("the database is not MLflow's", where=str(file), hint=_OTHER)


_RIGHTS = "write permission is needed for the file and its folder (SQLite's journal)"
_OTHER = "MLFLOW_TRACKING_URI names the store; restore a damaged one from a backup"


def wrong_schema(message: str, uri: str) -> AsrLabError | None:
    """Return the error for a schema mismatch that MLflow reports; None for any other message."""
    mismatch = _SCHEMA_MISMATCH.search(message)
    if not mismatch:
        return None
    shown = without_password(uri)
    if mismatch[1] != "None" and not _is_known(mismatch[1]):
        return AsrLabError(
            "the tracking store was made or upgraded by a newer MLflow than this one",
            where=f"{shown}, schema {mismatch[1]}",
            next_command="pip install --upgrade mlflow",
        )
    return AsrLabError(
        "the tracking store has the schema of an older MLflow",
        where=f"{shown}, schema {mismatch[1]}",
        hint="make a copy of the database first; it cannot be used during the upgrade",
        next_command=f"mlflow db upgrade {shown}",
    )


def _is_known(revision: str) -> bool:
    """Return whether the installed MLflow has the migration."""
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin
    return any((Path(spec.origin).parent / "store/db_migrations/versions").glob(f"{revision}_*.py"))
