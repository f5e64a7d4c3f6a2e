"""Schema of a tracking database: which MLflow it is of, and whether it is complete. It is only read here."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asr_lab.errors import AsrLabError, listing

Query = Callable[[str], Sequence[Any]]
"""SQL -> the rows of its result."""
_REVISION = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*[\"'](\w+)", re.MULTILINE)
_CREATED = re.compile(r"create_table\(\s*[\"'](\w+)")
MIGRATED = "_alembic_tmp_"
"""Begins the name of a table that a migration is writing."""
_OWN = {prefix + table for table in ("experiments", "runs", "registered_models") for prefix in ("", MIGRATED)}
_FILLED = {"alembic_version", "workspaces"}
"""Tables in which migrations themselves write rows."""
_NEEDED = {
    *("experiments", "experiment_tags", "runs", "metrics", "latest_metrics", "params", "tags"),
    *("datasets", "inputs", "input_tags", "logged_models", "logged_model_metrics", "logged_model_tags"),
    *("registered_models", "registered_model_aliases", "model_versions", "model_version_tags"),
}
"""Tables without which runs or models are lost; MLflow would create some of them empty, in their oldest form."""


class State(Enum):
    """What a tracking database is to this MLflow."""

    EMPTY = auto()
    """No tables."""
    UNFINISHED = auto()
    """Some of the tables, without data: another process is creating them, or was killed while it did."""
    READY = auto()
    OLDER = auto()
    NEWER = auto()
    FOREIGN = auto()
    """Not a database of MLflow."""


class OlderStoreError(AsrLabError):
    """The store has the schema of an older MLflow."""


@functools.cache
def _migrations() -> dict[str, str]:
    """Return each schema revision that the installed MLflow knows, with the one before it; reads text, some ms."""
    assigned = [dict(_REVISION.findall(text)) for text in _migration_files()]
    return {one["revision"]: one.get("down_revision", "") for one in assigned if "revision" in one}


def created_tables() -> set[str]:
    """Return the names of the tables that any migration creates."""
    return {name for text in _migration_files() for name in _CREATED.findall(text)}


def _migration_files() -> list[str]:
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin
    files = (Path(spec.origin).parent / "store/db_migrations/versions").glob("*.py")
    return [file.read_text(encoding="utf-8") for file in files]


def newest() -> str:
    """Return the schema revision of the installed MLflow."""
    (head,) = set(_migrations()) - set(_migrations().values())
    return head


def revision(tables: Collection[str], query: Query) -> str:
    """Return the schema revision of a database, or ""."""
    rows = query("SELECT version_num FROM alembic_version") if "alembic_version" in tables else ()
    return str(rows[0][0]) if rows else ""


def state(tables: Collection[str], query: Query) -> State:
    """Classify a database by its tables and their contents."""
    if not tables:
        return State.EMPTY
    if not _OWN.intersection(tables):
        return State.FOREIGN
    version_num = revision(tables, query)
    if version_num == newest():
        return State.READY
    if version_num and version_num not in _migrations():
        return State.NEWER
    has_data = any(query(f'SELECT 1 FROM "{table}" LIMIT 1') for table in set(tables) - _FILLED)
    return State.OLDER if has_data else State.UNFINISHED


def refuse_damaged(tables: Collection[str], shown_uri: str) -> None:
    """Raise `AsrLabError` for a database of this MLflow that has not all of its tables."""
    if missing := sorted(_NEEDED - set(tables)):
        raise AsrLabError(
            f"the tracking store is damaged: it has no table {listing(missing)}",
            where=shown_uri,
            hint="nothing was changed; restore it from a backup",
        )


def refuse(found: State, schema: str, shown_uri: str) -> None:
    """Raise `AsrLabError` for a database that cannot be used as it is; nothing is changed."""
    where = f"{shown_uri}, schema {schema or 'unknown'}"
    if found is State.FOREIGN:
        raise AsrLabError(
            "the database is not MLflow's", where=shown_uri, hint="MLFLOW_TRACKING_URI names the tracking store"
        )
    if found is State.NEWER:
        raise AsrLabError(
            f"the tracking store was made or upgraded by a newer MLflow than the installed {version('mlflow')}",
            where=where,
            next_command="pip install --upgrade mlflow",
        )
    if found is State.OLDER:
        raise OlderStoreError(
            "the tracking store has the schema of an older MLflow; it is left as it is",
            where=where,
            hint="end what uses it before; after the upgrade that MLflow cannot open it",
            next_command="asr-lab doctor --upgrade",
        )
