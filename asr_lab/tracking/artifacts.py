"""Artifacts outside of MLflow's client: their size, fetching them, deleting exactly them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from asr_lab.errors import AsrLabError
from asr_lab.tracking.store import explain_store_errors, shown_uri

_AT_ONCE = 8  # listings of a remote store that wait side by side


@contextmanager
def explain_artifact_errors(what: str, where: str = "") -> Iterator[None]:
    """Raise errors of the disk and of object stores as an `AsrLabError` too; else as `explain_store_errors`."""
    try:
        with explain_store_errors(what, where):
            yield
    except OSError as error:  # errors of requests are OSErrors
        text = str(error.strerror or error).splitlines()[0]
        raise AsrLabError(f"{what}: {text}", where=where or str(error.filename or shown_uri())) from error
    except Exception as error:
        if not type(error).__module__.startswith(("botocore", "boto3")):
            raise
        raise AsrLabError(f"{what}: {str(error).splitlines()[0]}", where=where or shown_uri()) from error


def repository(uri: str) -> ArtifactRepository:
    """MLflow's artifact repository of a URI; raises `AsrLabError` when its library is not installed."""
    try:
        return get_artifact_repository(uri)
    except ImportError as error:
        raise AsrLabError(
            f"this needs the package {error.name}", where=uri, hint=f"pip install {error.name}"
        ) from error


def local_folder(uri: str) -> Path | None:
    """The folder of an artifact URI on this machine; None when it lies elsewhere."""
    if ("://" in uri and not uri.startswith("file:")) or uri.startswith("mlflow-artifacts:"):
        return None
    return Path(local_file_uri_to_path(uri))


def folder_size(folder: Path) -> int:
    """Bytes of all files under a folder; 0 when it is not there."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += folder_size(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_size
    return total


def size(uri: str) -> int | None:
    """Bytes of the artifacts under a URI; None when they cannot be listed."""
    folder = local_folder(uri)
    if folder is not None:
        return folder_size(folder)
    try:
        return _listed_size(repository(uri))
    except Exception:  # whatever an object store raises: a size is no reason to stop
        return None


def _listed_size(repo: ArtifactRepository, path: str = "") -> int:
    return sum(
        _listed_size(repo, item.path) if item.is_dir else item.file_size or 0
        for item in repo.list_artifacts(path or None)
    )


def sizes(groups: Sequence[Sequence[str]], done: Callable[[], object]) -> list[int | None]:
    """Bytes under each group of URIs, None for a group that cannot be listed; `done` is called after each."""

    def one(uris: Sequence[str]) -> int | None:
        found = [size(uri) for uri in uris]
        done()
        return None if None in found else sum(each or 0 for each in found)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, groups))


def delete(uri: str, id: str, path: str = "") -> None:
    """Delete the artifacts of a run or model, or those under `path`; `id` must be in the URI, so nothing else is.

    Deleting what is not there is no error. Of a folder on this machine, the empty folder around it goes too.
    """
    if id not in uri:
        raise AsrLabError(f"the artifacts of {id} lie in a place that is not theirs alone: not deleted", where=uri)
    with explain_artifact_errors(f"the files of {id} cannot be deleted", uri):
        repository(uri).delete_artifacts(path or None)
        folder = local_folder(uri)
        if folder is not None and not path and folder.parent.name == id:
            with suppress(OSError):  # something of someone else's is in it, or it is gone
                folder.parent.rmdir()


def is_reachable(uri: str) -> bool:
    """False for a local folder that is missing together with all around it, as on a disk that is not mounted."""
    folder = local_folder(uri)
    return folder is None or folder.is_dir() or folder.parent.parent.is_dir()


@contextmanager
def local_copy(uri: str, staging: Path) -> Iterator[Path]:
    """A local folder with the artifacts under a URI: the folder itself where it is local, else downloaded."""
    folder = local_folder(uri)
    if folder is None:
        staging.mkdir(parents=True, exist_ok=True)
        with explain_artifact_errors("the artifacts cannot be fetched", uri):
            repo = repository(uri)
            if repo.list_artifacts():
                repo.download_artifacts("", str(staging))
        folder = staging
    yield folder


def list_files(place: str, suffix: str) -> list[str]:
    """The files of a suffix in a folder or in a place of an object store; none where it is not there."""
    if "://" not in place:
        return [str(path) for path in sorted(Path(place).resolve().glob(f"*{suffix}"))]
    with explain_artifact_errors("the bundles cannot be listed", place):
        names = [item.path for item in repository(place).list_artifacts() if not item.is_dir]
        return [f"{place.rstrip('/')}/{name}" for name in names if name.endswith(suffix)]


def remove(path: Path) -> None:
    """Delete a local file or folder; one that is gone already is no error."""
    with explain_artifact_errors("it cannot be deleted", str(path)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
