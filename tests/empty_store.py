"""Tracking stores without their cost: MLflow makes the tables of one (above a second), the others are its copies."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path


@functools.cache
def _empty() -> bytes:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mlflow.db")
        SqlAlchemyStore(f"sqlite:///{file}", folder).engine.dispose()
        return file.read_bytes()


def empty_store(file: Path, artifacts: str = "") -> str:
    """Make an sqlite store in a folder that is there, its artifacts in `mlruns` beside it; the URI of the store."""
    file.write_bytes(_empty())
    with closing(sqlite3.connect(file)) as database, database:
        place = artifacts or f"{file.parent}/mlruns"
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", [f"{place}/0"])
    return f"sqlite:///{file}"


def moved(file: Path, old: str, new: str) -> str:
    """Let a store that was copied name the new folder wherever it names the old one; its URI."""
    with closing(sqlite3.connect(file)) as database, database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                if "CHAR" in kind or "TEXT" in kind:
                    database.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",
                        (old, new, old),
                    )
    return f"sqlite:///{file}"
