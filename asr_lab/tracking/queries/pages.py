"""Pages (HTML artifacts) of a run: aligned text, learners, comparisons, sweeps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlflow.entities import Run

from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.tracking.artifacts import explain_artifact_errors, local_folder, repository
from asr_lab.tracking.store import client

_FIRST = ("sweep.html", "eval/test.html", "eval/val.html", "compare/comparison.html")
_NO_PAGES = {"model", "final", "images"}
"""Folders of a run's artifacts that are not searched."""


def pages(run: Run) -> list[str]:
    """Return the paths of a run's pages, the main one first."""
    with explain_artifact_errors("the artifacts cannot be listed"):
        files = sorted(_walk(run.info.run_id))
    return sorted(files, key=lambda path: _FIRST.index(path) if path in _FIRST else len(_FIRST))


def _walk(run_id: str, folder: str = "") -> Iterator[str]:
    for item in client().list_artifacts(run_id, folder or None):
        if item.is_dir and item.path not in _NO_PAGES:
            yield from _walk(run_id, item.path)
        elif item.path.endswith(".html"):
            yield item.path


def choose(run: Run, known: list[str], wanted: str) -> str:
    """Return the page that is `wanted`, by its path or a part that only one has; the main one without.

    Raises `AsrLabError` if there is none.
    """
    name = str(run.info.run_name)
    if not known:
        raise AsrLabError(f"{name} has no page", next_command=f"asr-lab show {run.info.run_id[:8]}")
    hits = [path for path in known if path == wanted] or [path for path in known if wanted in path]
    if not hits or (wanted and len(hits) > 1):
        near = nearest(wanted, known)
        what = f"{len(hits)} pages" if hits else "no page"
        raise AsrLabError(
            f"{name} has {what} {wanted!r}" + (f"; did you mean {near!r}?" if near and not hits else ""),
            allowed=listing(hits or known),
        )
    return hits[0]


def local_file(run: Run, page: str) -> Path:
    """Return a page as a local file: in place, or, from a remote store, a copy that only this user can read."""
    uri = str(run.info.artifact_uri)
    folder = local_folder(uri)
    if folder is not None and (folder / page).is_file():
        return folder / page
    with explain_artifact_errors("the page cannot be fetched", page):
        return Path(repository(uri).download_artifacts(page, tempfile.mkdtemp(prefix="asr_lab-")))
