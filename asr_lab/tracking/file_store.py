"""Folders of files such as `./mlruns`, which were MLflow's default store, and which MLflow refuses now."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from asr_lab.errors import AsrLabError

ROOT = "mlruns"
"""MLflow's folder of artifacts; where it was the default store, of runs too."""
_NO_FOLDER = {"databricks", "databricks-uc", "uc"}


def refuse(uri: str) -> None:
    """Raise `AsrLabError` for a tracking URI that is a path or `file:`, unless `MLFLOW_ALLOW_FILE_STORE` allows it."""
    if uri in _NO_FOLDER or _is_allowed():
        return
    path = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri)
    if is_file_store(path / ROOT):
        path = path / ROOT
    if is_file_store(path):
        database = path.absolute().parent / "mlflow.db"
        raise _migrate(path, database if not database.exists() else path.absolute().with_suffix(".db"))
    raise AsrLabError(
        "the tracking URI is a path, which MLflow does not take as a store",
        where=f"MLFLOW_TRACKING_URI={uri}",
        allowed="sqlite:///FILE.db, postgresql://..., http://...",
        next_command=f"export MLFLOW_TRACKING_URI=sqlite:///{path if path.is_file() else 'mlflow.db'}",
    )


def refuse_default(database: Path | None) -> None:
    """Raise `AsrLabError` where `./mlruns` has runs, and the default database none; `database` is one that is ready."""
    folder = Path(ROOT)
    if is_file_store(folder) and not (database and (_has_run(database) or not any(folder.glob("*/*/meta.yaml")))):
        raise _migrate(folder, Path("mlflow.db"))


def is_refused(folder: Path) -> bool:
    """Return whether a folder is a store of files that MLflow refuses."""
    return is_file_store(folder) and not _is_allowed()


def _is_allowed() -> bool:
    return os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")


def is_file_store(folder: Path) -> bool:
    """Return whether a folder has experiments as files, as MLflow itself finds them."""
    return any(meta.parent.name.isdigit() for meta in folder.glob("*/meta.yaml"))


def _has_run(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone())


def _migrate(folder: Path, database: Path) -> AsrLabError:
    uri = f"sqlite:///{database}"
    explicit = f"then export MLFLOW_TRACKING_URI={uri}; " if database.is_absolute() else ""
    return AsrLabError(
        "the tracking store is a folder of files, which this MLflow does not read: migrate it to a database",
        where=str(folder),
        hint=f"{explicit}keep {folder}, where the artifacts stay; its pages are mlflow ui --backend-store-uri {uri}",
        next_command=f"mlflow migrate-filestore --source {shlex.quote(str(folder))} --target {shlex.quote(uri)}",
    )
