"""Creating and upgrading the tables of a tracking store, whole or not at all.

MLflow does both by some sixty migrations in the database itself, without a lock, and cannot continue where it was cut
off. Here they run on a temporary database, whose contents are then written to the store in one transaction: a process
that is killed, or two at once, leave no half of them. PostgreSQL runs all migrations in one transaction by itself.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Set
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from asr_lab.errors import AsrLabError
from asr_lab.system import files
from asr_lab.tracking import schema
from asr_lab.tracking.connection import (
    StoreUnavailableError,
    check_connection,
    open_sqlite,
    sqlite_file,
    tables_of,
    without_password,
)
from asr_lab.tracking.schema import MIGRATED, OlderStoreError, State

_STALE_S = 15.0
"""Age of an unfinished database above which the process that was creating it is gone."""
_PATIENCE_S = 60.0
_POLL_S = 0.2
_TRIES = 3
_DATABASE = "ASR_LAB_MIGRATED_DATABASE"  # arguments of a process can be seen by others; the URI has a password
_MIGRATE = f"""
import os
from mlflow.store.db import utils
utils.{{}}(utils.create_sqlalchemy_engine_with_retry(os.environ["{_DATABASE}"]))
"""


def make_ready(uri: str) -> None:
    """Check a tracking store, and create its tables where there are none.

    Raises as `check_connection` does, and `StoreUnavailableError` while another process is creating them.
    """
    if check_connection(uri) is State.READY:
        return
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    if file:
        _create_in_file(file, uri)
    else:
        _create_in_server(uri)


def _create_in_file(file: Path, uri: str) -> None:
    with tempfile.TemporaryDirectory() as folder, _explain(file):
        template = Path(folder, "mlflow.db")
        _migrate(f"sqlite:///{template}", create=True)
        with closing(sqlite3.connect(template)) as made:
            script = list(made.iterdump())[1:-1]  # without BEGIN and COMMIT
            names = set(tables_of(made)[0]) | schema.created_tables()
        file.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _PATIENCE_S
        while not _fill(file, script, names) and check_connection(uri) is not State.READY:
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    "another process is creating the tracking store", where=str(file), hint="try again in a minute"
                )
            time.sleep(_POLL_S)


def _fill(file: Path, script: list[str], names: Set[str]) -> bool:
    """Write the tables, unless there are some that another process is writing, or has written.

    Raises `AsrLabError` if there are others than those `names`: the database is not MLflow's alone.
    """
    with closing(sqlite3.connect(file, timeout=20.0, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")  # which SQLite rolls back when the process is killed
        tables, query = tables_of(database)
        state = schema.state(tables, query)
        if state is State.EMPTY or (state is State.UNFINISHED and _age_s(file) > _STALE_S):
            if any(table not in names and not table.startswith(MIGRATED) for table in tables):
                schema.refuse(State.FOREIGN, "", f"sqlite:///{file}")
            for statement in (*(f'DROP TABLE "{table}"' for table in tables), *script, "COMMIT"):
                database.execute(statement)
            return True
    return False


def _age_s(file: Path) -> float:
    parts = (part for part in (file, file.with_name(f"{file.name}-journal")) if part.exists())
    return files.now(file.absolute().parent) - max(part.stat().st_mtime for part in parts)


def _create_in_server(uri: str) -> None:
    for attempt in count(1):
        try:
            _migrate(uri, create=True)
        except AsrLabError:  # another process was faster, or the database refuses
            if attempt == _TRIES and check_connection(uri) is not State.READY:
                raise
        if check_connection(uri) is State.READY:
            return
        time.sleep(_POLL_S)


def _migrate(uri: str, *, create: bool) -> None:
    """Run MLflow's migrations in a process of their own: where `mlflow run` begins, MLflow is not imported yet."""
    code = _MIGRATE.format("_initialize_tables" if create else "_upgrade_db")
    environment = os.environ | {_DATABASE: uri}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error: " in line or "Exception: " in line]
        why = without_password(lines[-1] if lines else done.stderr.strip()[-200:])
        raise AsrLabError(
            f"the tables of the tracking store cannot be {'created' if create else 'upgraded'}: {why}",
            where=without_password(uri),
        )


def upgrade(uri: str) -> Path | None:
    """Upgrade a store of an older MLflow, and return the copy that is kept of it; None for a database server.

    Raises `AsrLabError` if the store is not one of an older MLflow (see `needs_upgrade`), or the upgrade fails; an
    SQLite store is then as it was.
    """
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    if not file:
        _migrate(uri, create=False)
        return None
    with closing(open_sqlite(file)) as store, _explain(file):
        before = _version(store)
        kept = _name_of_copy(file, schema.revision(*tables_of(store)))
        work = files.prepare(file)
        try:
            with files.atomic_file(kept, sync=True) as written:
                _copy(store, written)
            _copy(store, work)
            _finish_interrupted(work)
            _migrate(f"sqlite:///{work.absolute()}", create=False)
            if _version(store) != before:
                raise StoreUnavailableError(
                    "the tracking store was written during the upgrade, and is left as it was",
                    where=str(file),
                    hint="end what uses it, and try again",
                )
            with closing(open_sqlite(work)) as upgraded:
                upgraded.backup(store)  # one transaction
        except BaseException:
            kept.unlink(missing_ok=True)  # the store is as it was
            raise
        finally:
            work.unlink(missing_ok=True)
    return kept


def needs_upgrade(uri: str) -> bool:
    """Return whether a store has the schema of an older MLflow; raises as `check_connection` does otherwise."""
    try:
        check_connection(uri)
    except OlderStoreError:
        return True
    return False


def _version(store: sqlite3.Connection) -> int:
    """Return a number that changes when another connection writes."""
    return int(store.execute("PRAGMA data_version").fetchone()[0])


def _name_of_copy(file: Path, revision: str) -> Path:
    names = (file.with_name(f"{file.stem}.{revision or 'old'}{number}{file.suffix}") for number in ("", *range(2, 99)))
    return next(name for name in names if not name.exists())


def _copy(store: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        store.backup(copy)


def _finish_interrupted(work: Path) -> None:
    """Remove what an interrupted upgrade left: a migration copies a table, drops it, and renames the copy."""
    with closing(open_sqlite(work)) as database:
        tables, _ = tables_of(database)
        for left in (table for table in tables if table.startswith(MIGRATED)):
            name = left.removeprefix(MIGRATED)
            database.execute(f'DROP TABLE "{left}"' if name in tables else f'ALTER TABLE "{left}" RENAME TO "{name}"')


@contextmanager
def _explain(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        kind = StoreUnavailableError if "locked" in str(error) else AsrLabError
        raise kind(f"the tracking store cannot be written: {error}", where=str(file)) from error
    except OSError as error:
        raise AsrLabError(
            f"the tracking store cannot be written: {error.strerror or error}",
            where=str(file),
            hint=files.remedy(error),
        ) from error
