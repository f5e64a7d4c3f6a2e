"""`doctor --relocate`: rewrite the paths of an SQLite store that was copied or moved, all of them or none."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from mlflow.tracking._tracking_service import utils

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.connection import refuse_misread_folder, sqlite_file
from asr_lab.tracking.file_store import ROOT
from asr_lab.tracking.moved_store import MovedStore, connect, exists, find_moved, inside, local_path
from asr_lab.tracking.spool.spool import ROOT as SPOOL
from asr_lab.tracking.spool.spool import Spool, spools
from asr_lab.tracking.store import same_store
from asr_lab.tracking.tags import ARCHIVED, BUNDLES

_ARTIFACTS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_OTHERS = (
    ("datasets", "dataset_source"),
    ("params", "value"),
    ("tags", "value"),
    ("experiment_tags", "value"),
    ("trace_tags", "value"),
    ("logged_model_params", "param_value"),
    ("logged_model_tags", "tag_value"),
    ("model_version_tags", "value"),
    ("registered_model_tags", "value"),
)
"""Rewritten where the file or folder is there: data may have stayed where they were."""
_BUNDLES = f"rowid IN (SELECT rowid FROM tags WHERE key IN ('{ARCHIVED}', '{BUNDLES}'))"
_TRACES = "key = 'mlflow.artifactLocation'"


@dataclass(frozen=True)
class Change:
    """A value of a row."""

    table: str
    column: str
    row: int
    old: str
    new: str


@dataclass(frozen=True)
class Relocation:
    """The paths of a store to rewrite."""

    moved: MovedStore
    changes: list[Change]
    spools: list[Spool]
    """Pending runs recorded for the store in its former folder."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Return (table, column) -> number of paths."""
        counts = Counter((one.table, one.column) for one in self.changes)
        return dict(counts) | ({("spool", "store"): len(self.spools)} if self.spools else {})


def plan(uri: str) -> Relocation | None:
    """Return what to rewrite; None if no location is in a former folder. Changes nothing.

    Raises `AsrLabError` if files were not copied along, are the original's own through a symbolic link, or would
    be misread by MLflow.
    """
    moved = find_moved(uri)
    if moved is None:
        return None
    refuse_misread_folder(moved.file)
    with closing(connect(moved.file)) as database:
        changes = list(_changes(database, moved.moves))
    _refuse_missing(moved, changes)
    return Relocation(moved, changes, _spools(moved))


def relocate(planned: Relocation) -> Path:
    """Rewrite the paths in one transaction, and return the copy of the database made before.

    Raises `AsrLabError` if the database is in use, or was changed since the plan.
    """
    file = planned.moved.file
    backup = file.with_name(f"{file.name}.{datetime.now():%Y%m%d-%H%M%S}.bak")
    try:
        with closing(connect(file, "rw")) as database, closing(sqlite3.connect(backup)) as copy:
            database.execute("BEGIN IMMEDIATE")  # nobody writes from here on
            with closing(connect(file)) as before:
                before.backup(copy)
            shutil.copymode(file, backup)
            _rewrite(database, planned)
    except sqlite3.Error as error:
        backup.unlink(missing_ok=True)
        raise AsrLabError(
            f"the store cannot be relocated: {error}", where=str(file), hint="nothing was changed; end what uses it"
        ) from error
    except BaseException:
        backup.unlink(missing_ok=True)
        raise
    utils._artifact_repos_cache.clear()  # MLflow remembers where the artifacts of a run are
    return backup


def _rewrite(database: sqlite3.Connection, planned: Relocation) -> None:
    headers = [(spool, spool.header) for spool in planned.spools]
    try:
        for one in planned.changes:
            done = database.execute(
                f"UPDATE {one.table} SET {one.column} = ? WHERE rowid = ? AND {one.column} = ?",
                (one.new, one.row, one.old),
            )
            if done.rowcount != 1:
                raise AsrLabError("the store was changed meanwhile", next_command="asr-lab doctor --relocate")
        for spool, header in headers:
            spool.describe(replace(header, uri=_moved_uri(header.uri, planned.moved) or header.uri))
        database.execute("COMMIT")
    except BaseException:
        for spool, header in headers:
            spool.describe(header)
        raise


def _changes(database: sqlite3.Connection, moves: Mapping[PurePath, Path]) -> Iterator[Change]:
    def always(value: str) -> str:
        return _moved(value, moves) or value

    def if_there(value: str) -> str:
        return _moved(value, moves, must_exist=True) or value

    for table, column in _ARTIFACTS:
        yield from _column(database, table, column, "1", always)
    for table, column in _OTHERS:
        condition = {"tags": f"NOT {_BUNDLES}", "trace_tags": f"NOT ({_TRACES})"}.get(table, "1")
        yield from _column(database, table, column, condition, lambda value: _each_text(value, if_there))
    yield from _column(database, "trace_tags", "value", _TRACES, always)
    yield from _column(database, "tags", "value", _BUNDLES, lambda text: "\n".join(map(always, text.splitlines())))


def _column(
    database: sqlite3.Connection, table: str, column: str, condition: str, new: Callable[[str], str]
) -> Iterator[Change]:
    for row, old in database.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} != '' AND {condition}"):
        if (value := new(old)) != old:
            yield Change(table, column, row, old, value)


def _each_text(value: str, new: Callable[[str], str]) -> str:
    """Return a text, or all texts in a JSON object or list, rewritten."""
    if not value.startswith(("{", "[")):
        return new(value)
    try:
        content = json.loads(value)
    except ValueError:
        return value
    rewritten = _walk(content, new)
    return value if rewritten == content else json.dumps(rewritten, ensure_ascii=False)


def _walk(content: Any, new: Callable[[str], str]) -> Any:
    if isinstance(content, dict):
        return {key: _walk(one, new) for key, one in content.items()}
    if isinstance(content, list):
        return [_walk(one, new) for one in content]
    return new(content) if isinstance(content, str) else content


def _moved(value: str, moves: Mapping[PurePath, Path], *, must_exist: bool = False) -> str:
    """Return the new path of one in a former folder, in the same form; "" if it stays."""
    path = local_path(value)
    if path is None or (must_exist and not _is_absolute(value)):
        return ""
    for former in sorted(moves, key=lambda one: len(one.parts), reverse=True):
        if path.is_relative_to(former):
            new = moves[former] / Path(*path.relative_to(former).parts)
            if inside(path, moves[former]) or (must_exist and not exists(new)):
                return ""
            return new.as_uri() if value.startswith("file:") else str(new)
    return ""


def _is_absolute(value: str) -> bool:
    return value.startswith(("/", "\\\\", "file:")) or value[1:3] in (":\\", ":/")


def _refuse_missing(moved: MovedStore, changes: list[Change]) -> None:
    """Raise `AsrLabError` if artifacts are only in the former folder, or a link leads back to them."""
    missing = []
    artifacts = [one for one in changes if (one.table, one.column) in _ARTIFACTS]
    of_runs = [(local_path(one.old), local_path(one.new)) for one in artifacts if one.table != "experiments"]
    if of_runs and not any(path and exists(path) for pair in of_runs for path in pair):
        former, folder = next(iter(moved.moves.items()))
        raise AsrLabError(
            f"the artifacts are neither in {former} nor in {folder}",
            where=str(moved.file),
            hint="nothing was changed: mount the disk that has them, or copy them",
        )
    for one in artifacts:
        old, new = local_path(one.old), local_path(one.new)
        assert old is not None
        assert isinstance(new, Path)
        if not exists(old):
            continue
        assert isinstance(old, Path)
        if not exists(new) and (not old.is_dir() or any(old.iterdir())):
            missing.append((old, new))
        elif exists(new) and old.samefile(new) and moved.is_copy:
            raise AsrLabError(
                f"{new} is a link to the files of the project that the store was copied from",
                where=str(old),
                hint="nothing was changed; a copy needs files of its own",
            )
    if missing:
        old, new = min(missing, key=lambda pair: len(pair[0].parts))
        while not exists(new.parent) and new.parent != moved.folder:
            old, new = old.parent, new.parent
        raise AsrLabError(
            f"the files of {listing((old for old, _ in missing), 3)} were not copied along",
            where=f"expected in {moved.folder / ROOT}",
            hint="nothing was changed",
            next_command=shlex.join(["cp", "-a", str(old), str(new)]),
        )


def _spools(moved: MovedStore) -> list[Spool]:
    return spools(moved.folder / SPOOL, lambda spool: bool(_moved_uri(spool.header.uri, moved)))


def _moved_uri(uri: str, moved: MovedStore) -> str:
    """Return the new URI of the store, of one in its former folder; "" for any other store."""
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    new = _moved(str(file), moved.moves) if file and file.is_absolute() else ""
    own = f"sqlite:///{moved.file}"
    return own if new and same_store(f"sqlite:///{new}", own) else ""
