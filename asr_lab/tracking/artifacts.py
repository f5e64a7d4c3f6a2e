"""Measure, download and delete artifacts, local or in an object store."""

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

_AT_ONCE = 8  # concurrent listings of a remote store


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
    """Return MLflow's artifact repository of a URI; raises `AsrLabError` if its library is not installed."""
    try:
        return get_artifact_repository(uri)
    except ImportError as error:
        raise AsrLabError(
            f"this needs the package {error.name}", where=uri, hint=f"pip install {error.name}"
        ) from error


def local_folder(uri: str) -> Path | None:
    """Return the local folder of an artifact URI; None if it is remote."""
    if ("://" in uri and not uri.startswith("file:")) or uri.startswith("mlflow-artifacts:"):
        return None
    return Path(local_file_uri_to_path(uri))


def folder_size(folder: Path) -> int:
    """Return the bytes of all files under a folder; 0 if it does not exist."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += folder_size(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_size
    return total


def size(uri: str) -> int | None:
    """Return the bytes of the artifacts under a URI; None if they cannot be listed."""
    folder = local_folder(uri)
    if folder is not None:
        return folder_size(folder)
    try:
        return _listed_size(repository(uri))
    except Exception:  # object stores raise anything; an unknown size is no error
        return None


def _listed_size(repo: ArtifactRepository, path: str = "") -> int:
    return sum(
        _listed_size(repo, item.path) if item.is_dir else item.file_size or 0
        for item in repo.list_artifacts(path or None)
    )


def sizes(groups: Sequence[Sequence[str]], done: Callable[[], object]) -> list[int | None]:
    """Return the bytes under each group of URIs, None if it cannot be listed; call `done` after each group."""

    def one(uris: Sequence[str]) -> int | None:
        bytes_by_uri = [size(uri) for uri in uris]
        done()
        return None if None in bytes_by_uri else sum(num_bytes or 0 for num_bytes in bytes_by_uri)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, groups))


def delete(uri: str, id: str, path: str = "") -> None:
    """Delete the artifacts of a run or model, or those under `path`; the URI must contain `id`.

    Missing artifacts are no error. The parent of a local folder is removed if it is empty.
    """
    if id not in uri:
        raise AsrLabError(f"the artifact URI does not contain the id {id}: not deleted", where=uri)
    with explain_artifact_errors(f"the files of {id} cannot be deleted", uri):
        repository(uri).delete_artifacts(path or None)
        folder = local_folder(uri)
        if folder is not None and not path and folder.parent.name == id:
            with suppress(OSError):  # not empty, or gone
                folder.parent.rmdir()


def is_reachable(uri: str) -> bool:
    """Return False for a local folder whose grandparent is missing too, as on a disk that is not mounted."""
    folder = local_folder(uri)
    return folder is None or folder.is_dir() or folder.parent.parent.is_dir()


@contextmanager
def local_copy(uri: str, staging: Path) -> Iterator[Path]:
    """Yield a local folder with the artifacts under a URI, downloaded to `staging` if they are remote."""
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
    """Return the files with a suffix in a folder or object-store prefix; empty if it does not exist."""
    if "://" not in place:
        return [str(path) for path in sorted(Path(place).resolve().glob(f"*{suffix}"))]
    with explain_artifact_errors("the bundles cannot be listed", place):
        names = [item.path for item in repository(place).list_artifacts() if not item.is_dir]
        return [f"{place.rstrip('/')}/{name}" for name in names if name.endswith(suffix)]


def remove(path: Path) -> None:
    """Delete a local file or folder, if it exists."""
    with explain_artifact_errors("it cannot be deleted", str(path)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
