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


MLFLOW_2_9 = "acf3f17fdcc7"
"""The schema of MLflow 2.9."""


def older_tables(uri: str) -> None:
    """Make the tables of MLflow 2.9 in an empty database by MLflow's own migrations, with an experiment and a run."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db import utils

    engine = sqlalchemy.create_engine(uri)
    utils.InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, MLFLOW_2_9)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)"
            " VALUES (0, 'Default', '/nowhere', 'active')",
            "INSERT INTO runs (run_uuid, name, user_id, status, experiment_id, lifecycle_stage, artifact_uri,"
            " start_time)"
            " VALUES ('0123456789abcdef0123456789abcdef', 'before', 'me', 'FINISHED', 0, 'active', '/nowhere', 1)",
            "INSERT INTO tags (run_uuid, key, value)"
            " VALUES ('0123456789abcdef0123456789abcdef', 'asr_lab.family', 'adapter')",
            "INSERT INTO params (run_uuid, key, value) VALUES ('0123456789abcdef0123456789abcdef', 'rank', '8')",
        ):
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
