"""A copied or moved store behind a server, whose file only the server knows.

`mlflow server` where asr_lab is installed leaves the former folders in a tag of an experiment when it starts, or takes
that away; clients read it before they write. A server without asr_lab leaves none: its clients cannot know.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from contextlib import closing, suppress

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.connection import sqlite_file
from asr_lab.tracking.moved_store import connect, find_moved, is_allowed, local_path
from asr_lab.tracking.tags import MOVED


def mark(uri: str) -> list[str]:
    """Return the former folders of an SQLite store that is about to be served, and write or remove their tag."""
    found = find_moved(uri)
    folders = [str(folder) for folder in found.moves] if found else []
    file = sqlite_file(uri) if uri.startswith("sqlite") else None
    if file and file.is_file():
        with suppress(sqlite3.DatabaseError), closing(connect(file, "rw")) as database:
            before = database.execute("SELECT value FROM experiment_tags WHERE key = ?", [MOVED]).fetchall()
            after = [(json.dumps(folders),)] if folders else []
            if before != after:
                database.execute("BEGIN IMMEDIATE")
                database.execute("DELETE FROM experiment_tags WHERE key = ?", [MOVED])
                insert = "INSERT INTO experiment_tags (key, value, experiment_id) SELECT ?, ?, min(experiment_id)"
                for (value,) in after:
                    database.execute(f"{insert} FROM experiments HAVING count(*)", [MOVED, value])
                database.execute("COMMIT")
    return folders


def refuse(uri: str) -> None:
    """Raise `AsrLabError` if a server reported at its start that its store was copied or moved."""
    folders: list[str] = []
    with suppress(AsrLabError, ValueError):  # a server that is away, or refuses, says so elsewhere
        folders = [folder for folder in _former_folders(uri) if not _is_allowed(folder)]
    if folders:
        raise AsrLabError(
            f"the tracking store was copied or moved: its artifacts are in {listing(folders, 3)}",
            where=f"behind {uri.rpartition('@')[2]}",
            hint="nothing was changed; relocate the database while the server is stopped",
            next_command="MLFLOW_TRACKING_URI=sqlite:///mlflow.db asr-lab doctor --relocate",
        )


def _is_allowed(folder: str) -> bool:
    path = local_path(folder)
    return path is not None and is_allowed(path)


@functools.cache
def _former_folders(uri: str) -> list[str]:
    """Ask a server once per process: a store does not move while it is served."""
    from mlflow.entities import ViewType

    from asr_lab.tracking.store import client, explain_store_errors

    with explain_store_errors("the experiments cannot be read", uri):
        condition = f"tags.`{MOVED}` LIKE '%'"
        marked = client().search_experiments(ViewType.ALL, filter_string=condition, max_results=1)
    return [str(folder) for experiment in marked for folder in json.loads(experiment.tags[MOVED])]
