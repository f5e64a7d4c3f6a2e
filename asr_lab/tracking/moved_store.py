"""Detect an SQLite store that was copied or moved: its artifact locations are absolute, and name its former folder.

A location outside the store's folder belongs there on purpose, unless it is in the folder of another copy of this
database, what it names is now in the store's folder, or the database that this one was copied from uses it too; the
tag `asr_lab.store` holds its path. `ASR_LAB_ARTIFACT_ROOTS` lists folders that are used on purpose in any case.
Servers and other databases have no folder.
"""

from __future__ import annotations

import functools
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.connection import StoreUnavailableError, open_sqlite, refuse_misread_folder, sqlite_file
from asr_lab.tracking.file_store import ROOT
from asr_lab.tracking.notifications import report
from asr_lab.tracking.tags import STORE

VARIABLE = "ASR_LAB_ARTIFACT_ROOTS"
_PATIENCE_S = 20.0
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
_ROOTS = (
    "SELECT artifact_location FROM experiments",
    "SELECT DISTINCT replace(artifact_uri, '/' || run_uuid || '/artifacts', '') FROM runs",
    "SELECT DISTINCT replace(artifact_location, '/models/' || model_id || '/artifacts', '') FROM logged_models",
)


class MovedStoreError(AsrLabError):
    """The artifacts of the store are in the folder it was copied or moved from."""

    def __init__(self, moved: MovedStore) -> None:
        super().__init__(
            f"the tracking store was copied or moved: its artifacts are in {listing(moved.moves, 3)}",
            where=f"{moved.file}, which names {listing(sorted(moved.locations), 3)}",
            hint=f"nothing was changed; if they belong there, name the folder in {VARIABLE}",
            next_command="asr-lab doctor --relocate",
        )
        self.moved = moved


@dataclass(frozen=True)
class MovedStore:
    """A store with artifact locations in folders that it was copied or moved from."""

    file: Path
    locations: frozenset[str]
    """Artifact locations of its experiments, runs and models that are in a former folder."""
    moves: Mapping[PurePath, Path]
    """Former folder -> the folder where its content is expected now."""
    is_copy: bool
    """Whether the store in the former folder still uses these locations."""

    @property
    def folder(self) -> Path:
        return self.file.parent


def refuse_moved(*uris: str) -> None:
    """Raise `MovedStoreError` if one of the stores was copied or moved: nothing may be written to its artifacts.

    Of a server, which knows its file, what it reported at its start.
    """
    for uri in filter(None, uris):
        if uri.startswith("http"):
            from asr_lab.tracking import moved_server  # which looks for the move with this module

            moved_server.refuse(uri)
            continue
        if file := _file_of(uri):
            refuse_misread_folder(file)
        if moved := find_moved(uri):
            raise MovedStoreError(moved)
        _remember_file(uri)


@functools.cache
def warn_moved(uri: str, folder: Path) -> None:
    """Warn once that a store was copied or moved; `folder` is the working folder."""
    if moved := find_moved(uri):
        error = MovedStoreError(moved)
        report(f"warning: {error.what}; these are only read until {error.next_command}, or {VARIABLE} names them")


def find_moved(uri: str) -> MovedStore | None:
    """Return the locations of an SQLite store that are in its former folder; None if there are none."""
    file = _file_of(uri)
    if file is None:
        return None
    try:
        with closing(connect(file, "rw")) as database:  # rolls back what a killed process began
            roots = {root for query in _ROOTS for (root,) in database.execute(query) if root}
            origin = _Origin(file, _experiments(database), _remembered_file(database))
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise StoreUnavailableError(
                "the tracking store is in use by another process", where=str(file), hint="try again in a minute"
            ) from error
        return None  # no store, or one of an older MLflow: MLflow itself raises
    former = {root: folder for root in roots if (folder := origin.former_folder(root))}
    moves = dict.fromkeys(sorted(former.values(), key=str), file.parent)
    more = {root: move for root in roots - former.keys() if (move := origin.move_with(root, moves))}
    if not former and not more:
        return None
    is_copy = any(map(origin.claimed, origin.users(moves)))
    return MovedStore(file, frozenset(former) | frozenset(more), moves | dict(more.values()), is_copy)


def _file_of(uri: str) -> Path | None:
    """Return the existing file of an SQLite store; None for any other store."""
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    return file.resolve() if file and file.is_file() else None


def _remember_file(uri: str) -> None:
    file = _file_of(uri)
    if file is None or os.environ.get(VARIABLE):  # in a copy it would hide the original
        return
    with suppress(sqlite3.DatabaseError), closing(connect(file, "rw")) as database, database:
        if _remembered_file(database) != file:
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM experiment_tags WHERE key = ?", [STORE])
            insert = "INSERT INTO experiment_tags (key, value, experiment_id) SELECT ?, ?, min(experiment_id)"
            database.execute(f"{insert} FROM experiments HAVING count(*)", [STORE, str(file)])


def _remembered_file(database: sqlite3.Connection) -> Path | None:
    row = database.execute("SELECT value FROM experiment_tags WHERE key = ?", [STORE]).fetchone()
    return Path(row[0]) if row else None


def connect(file: Path, mode: str = "ro") -> sqlite3.Connection:
    """Open an existing database."""
    return open_sqlite(file, _PATIENCE_S, mode)


def local_path(location: str) -> PurePath | None:
    """Return the absolute path of `/p`, `file:///p`, `p` or `C:\\p`; None for a server or object store."""
    path = location
    if location.startswith("file:"):
        path = url2pathname(urlsplit(location).path)
        path = path[1:] if _DRIVE.match(path[1:]) else path
    elif _SCHEME.match(location):
        return None
    if _DRIVE.match(path) and os.name != "nt":
        return PureWindowsPath(path)
    return Path(os.path.abspath(path))  # noqa: PTH100 (without symbolic links, but without ..)


def inside(path: PurePath, folder: PurePath) -> bool:
    """Return whether a path is in a folder, or is it, by their names or through symbolic links."""
    if path.is_relative_to(folder):
        return True
    return isinstance(path, Path) and any(_is_same(one, folder) for one in _upwards(path))


def _upwards(path: Path) -> Iterator[Path]:
    """Yield a path and the folders above it: first of its target, then of its name."""
    for one in (path.resolve(), path):
        yield from (one, *one.parents)


def _is_same(one: Path, other: PurePath) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def exists(path: PurePath) -> bool:
    """Return whether a path is there and may be looked at; no path of another system is."""
    try:
        return isinstance(path, Path) and bool(path.stat())
    except OSError:
        return False


def _experiments(database: sqlite3.Connection) -> dict[tuple[str, int | None], str]:
    """Return (id, creation time) of each experiment, which only a copy shares -> its artifact location."""
    rows = database.execute("SELECT experiment_id, creation_time, artifact_location FROM experiments")
    return {(str(id), created): location or "" for id, created, location in rows}


@dataclass
class _Origin:
    """Where the artifact locations of a database come from."""

    file: Path
    experiments: Mapping[tuple[str, int | None], str]
    original: Path | None
    """The file that the database was last written in."""
    _copies: dict[Path, list[PurePath]] = field(default_factory=dict)

    def former_folder(self, root: str) -> PurePath | None:
        """Return the folder that the store was copied or moved from, if the location is in it."""
        path = local_path(root)
        if path is None or is_allowed(path):
            return None
        if isinstance(path, Path):
            for folder in _upwards(path):
                if _is_same(folder, self.file.parent):
                    return None
                if path.resolve() in self.claimed(folder):
                    return folder
        return self._left_behind(path)

    def move_with(self, root: str, moves: Mapping[PurePath, Path]) -> tuple[PurePath, Path] | None:
        """Return the move of a location that only the others show: in a former folder, or used by a store there.

        A copy shares such a location with its original: it needs the files in a folder of its own.
        """
        path = local_path(root)
        if not isinstance(path, Path) or is_allowed(path) or inside(path, self.file.parent):
            return None
        if former := next((one for one in moves if inside(path, one)), None):
            return former, moves[former]
        if any(path.resolve() in self.claimed(folder) for folder in self.users(moves)):
            return path, self.file.parent / ROOT / path.name
        return None

    def users(self, moves: Mapping[PurePath, Path]) -> list[Path]:
        """Return the folders where another copy of the database may be in use."""
        known = [self.original.parent] if self.original else []
        return [*(folder for folder in moves if isinstance(folder, Path)), *known]

    def claimed(self, folder: Path) -> list[PurePath]:
        """Return the locations of experiments that a copy of this database in a folder has too."""
        if folder not in self._copies:
            files = {folder / self.file.name, folder / "mlflow.db", *([self.original] if self.original else [])}
            copies = [
                file for file in files if file.parent == folder and exists(file) and not _is_same(file, self.file)
            ]
            self._copies[folder] = [path for file in copies for path in self._shared(file)]
        return self._copies[folder]

    def _shared(self, file: Path) -> Iterator[PurePath]:
        try:
            with closing(connect(file)) as database:
                theirs = _experiments(database)
        except sqlite3.DatabaseError:  # no database of MLflow
            return
        for location in (theirs[key] for key in theirs.keys() & self.experiments.keys()):
            path = local_path(location)
            yield from [path.resolve()] if isinstance(path, Path) else []

    def _left_behind(self, path: PurePath) -> PurePath | None:
        """Return the former folder of a location whose store is gone from there.

        What it names is now in the store's folder; or it is in MLflow's folder of artifacts, and all above is gone.
        """
        parts, kind = path.parts, type(path)
        if ROOT in parts:
            place = len(parts) - 1 - parts[::-1].index(ROOT)
            above = kind(*parts[:place])
            is_here = self.file.parent.joinpath(*parts[place:]).is_dir()
            return above if is_here or not exists(above) else None
        places = [] if exists(path) else range(1, len(parts))
        tails = (place for place in places if self.file.parent.joinpath(*parts[place:]).is_dir())
        return next((kind(*parts[:place]) for place in tails), None)


def is_allowed(path: PurePath) -> bool:
    """Return whether a path is in a folder of `ASR_LAB_ARTIFACT_ROOTS`."""
    roots = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return any(inside(path, Path(os.path.abspath(root))) for root in roots)  # noqa: PTH100
