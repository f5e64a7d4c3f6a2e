"""Check within seconds that a tracking store can be used; MLflow itself retries for minutes."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sqlite3
import ssl
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.system.files import remedy
from asr_lab.system.locks import lock_failure
from asr_lab.tracking import file_store, schema
from asr_lab.tracking.schema import Query, State

DEFAULT_URI = "sqlite:///mlflow.db"
_TIMEOUT_S = 3.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_DATABASE_ERROR = re.compile(r"\.(Operational|Interface)Error\b|database is locked|disk I/O error")
_PERMANENT = re.compile(r"no such (table|column)|does not exist|authentication failed|access denied", re.IGNORECASE)
_TEMPORARY = re.compile(r"starting up|shutting down|recovery mode|too many|closed the connection|terminat")
_PASSWORDS = (
    (re.compile(r"(sql[+\w]*://[^:/@\s]*):\S*@"), r"\1:***@"),  # database passwords may contain any character
    (re.compile(r"(://[^:/@\s]*):[^/\s]*@"), r"\1:***@"),
    (re.compile(r"([?&]\w*pass(?:word|wd)?=)[^&\s]*", re.IGNORECASE), r"\1***"),
)


class StoreUnavailableError(UnavailableError):
    """The tracking store does not answer, or refuses for now; a later attempt may succeed."""


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or `sqlite:///mlflow.db` in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def check_connection(uri: str) -> State:
    """Return what is at a tracking URI: `READY` (also a server that answers), `EMPTY` or `UNFINISHED`.

    Nothing is changed. Raises `StoreUnavailableError` if it does not answer, `AsrLabError` if it cannot be used: a
    folder, no permission, not MLflow's, the schema of another MLflow.
    """
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme == "sqlite":
        file = sqlite_file(uri)
        state = _check_sqlite_file(file, uri) if file else State.READY
        if not os.environ.get("MLFLOW_TRACKING_URI"):  # MLflow's own default would be the file store
            file_store.refuse_default(file if state is State.READY else None)
        return state
    if scheme in ("http", "https"):
        _check_health(uri)
    elif scheme in _PORTS:
        _check_port(uri, _PORTS[scheme])
        return _check_database(uri)
    elif scheme in ("", "file"):
        file_store.refuse(uri)
    return State.READY


def check_usable() -> None:
    """Raise `AsrLabError` if the tracking store can never be used as it is; one that does not answer may be later."""
    with suppress(StoreUnavailableError):
        check_connection(tracking_uri())


def _check_health(uri: str) -> None:
    try:
        urllib.request.urlopen(health_address(uri), timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:  # any other status is an answer
            raise _unavailable(uri, "server", f"{error.code} {error.reason}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # the server answered; MLflow verifies certificates
            raise _unavailable(uri, "server", str(getattr(reason, "strerror", None) or reason)) from error


def health_address(uri: str) -> str:
    """Return the page of a server that only shows that it is there; it needs no login."""
    return re.sub(r"//[^/@]*@", "//", uri).rstrip("/") + "/health"


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


def _check_database(uri: str) -> State:
    """Log in once; MLflow would retry for hours after a refusal."""
    try:
        engine = create_engine(uri)
        try:
            with engine.connect() as connection:
                tables = set(inspect(connection).get_table_names())
                own = tables if tables & {"alembic_version", "experiments"} else set()  # others may share the database
                return _state(own, lambda sql: connection.execute(text(sql)).all(), uri)
        finally:
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


def _state(tables: set[str], query: Query, uri: str) -> State:
    result = schema.state(tables, query)
    schema.refuse(result, schema.revision(tables, query), without_password(uri))
    if result is State.READY:
        schema.refuse_damaged(tables, without_password(uri))
    return result


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


def _check_sqlite_file(file: Path, uri: str) -> State:
    if file.is_dir():
        raise AsrLabError("the tracking store is a folder, not a file", where=uri, allowed="sqlite:///FILE.db")
    if not file.exists():
        refuse_misread_folder(file)
        above = next(folder for folder in file.absolute().parents if folder.exists())
        if not os.access(above, os.W_OK):
            raise AsrLabError("there is no tracking store, and none may be made here", where=str(file), hint=_RIGHTS)
        return State.EMPTY
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(file.absolute().parent, os.W_OK):
        raise AsrLabError("the tracking store may not be written", where=str(file), hint=_RIGHTS)
    try:
        with closing(open_sqlite(file)) as connection:
            return _state(*tables_of(connection), uri)
    except sqlite3.OperationalError as error:
        if lockless := lock_failure(file.absolute().parent):  # which SQLite calls "database is locked"
            raise StoreUnavailableError(
                f"the tracking store cannot be locked: {lockless.strerror}", where=str(file), hint=remedy(lockless)
            ) from error
        raise StoreUnavailableError(f"the tracking store cannot be read: {error}", where=str(file)) from error
    except sqlite3.DatabaseError as error:
        raise AsrLabError(f"the tracking store is no SQLite database: {error}", where=str(file), hint=_OTHER) from error


def refuse_misread_folder(file: Path) -> None:
    """Raise `AsrLabError` if MLflow would put the artifacts of a store elsewhere: it reads %20 in a path as a space."""
    for folder in (file.absolute().parent, Path.cwd()):
        if (read := Path(unquote(str(folder)))) != folder:
            raise AsrLabError(
                f"MLflow would store artifacts in another folder: {read}",
                where=str(folder),
                hint="it decodes % with two hexadecimal digits in a path to a character; nothing was changed",
                next_command=" && ".join(shlex.join(map(str, words)) for words in _moves(folder, read)),
            )


def _moves(folder: Path, read: Path) -> list[list[object]]:
    """Return the commands that rename a folder, and move artifacts that MLflow already stored in the other one."""
    named = next(one for one in (folder, *folder.parents) if unquote(one.name) != one.name)
    renamed = Path(str(named).replace("%", "_"))
    artifacts, project = read / file_store.ROOT, renamed / folder.relative_to(named)
    rename: list[object] = ["mv", named, renamed]
    if not artifacts.is_dir() or any(read.glob("*.db")):  # none there, or also those of another project
        return [rename]
    return [rename, ["mv", artifacts, project], ["cd", project], ["asr-lab", "doctor", "--relocate"]]


def open_sqlite(file: Path, timeout_s: float = 20.0, mode: str = "rw") -> sqlite3.Connection:
    """Open a database that exists, without implicit transactions; rolls back what a killed process left half-written.

    `timeout_s` is how long a lock of another process is waited for; `mode` "ro" writes nothing, and rolls nothing back.
    """
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)


def tables_of(connection: sqlite3.Connection) -> tuple[set[str], Query]:
    """Return the names of the tables, and what asks the database."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name for (name,) in names}, lambda sql: connection.execute(sql).fetchall()


_RIGHTS = "write permission is needed for the file and its folder (SQLite's journal)"
_OTHER = "MLFLOW_TRACKING_URI names the store; restore a damaged one from a backup"
