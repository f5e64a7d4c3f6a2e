"""Bundles: one run in a zstd-compressed tar; the last member holds the SHA-256 of the others.

    run.json            info, params, tags, datasets, outputs, registered versions and aliases
    metrics.parquet     key, step, timestamp, value: every point
    artifacts/...       the run's artifacts
    models/ID/model.json, models/ID/files/...      each logged model
    manifest.json       format, version, members: name -> size and sha256

`tar --zstd -tf FILE` lists one without asr_lab. Nothing in a bundle is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from asr_lab.errors import AsrLabError
from asr_lab.system.files import atomic_file

SUFFIX = ".tar.zst"
FORMAT, VERSION = "asr_lab-run", 1
RUN, METRICS, MANIFEST = "run.json", "metrics.parquet", "manifest.json"
_CHUNK = 1 << 20


class Writer:
    """Add members to a bundle, and compute their digests."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.members: dict[str, dict[str, Any]] = {}

    def add(self, name: str, source: Path | bytes) -> None:
        """Add a file or bytes as the member `name`."""
        if isinstance(source, bytes):
            self._add(name, io.BytesIO(source), len(source))
            return
        with source.open("rb") as file:
            self._add(name, file, source.stat().st_size)

    def add_folder(self, name: str, folder: Path) -> None:
        """Add every file under a folder; links are followed."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.add(f"{name}/{path.relative_to(folder).as_posix()}", path)

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        reader = _Digesting(file)
        self.tar.addfile(info, reader)
        self.members[name] = {"size": size, "sha256": reader.digest.hexdigest()}


class _Digesting:
    """A file that is digested while it is read once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Write a bundle atomically, and sync it to disk: its run may be erased afterwards."""
    with (
        atomic_file(path, sync=True) as written,
        pa.CompressedOutputStream(pa.OSFile(str(written), "wb"), "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        writer = Writer(tar)
        yield writer
        manifest = {"format": FORMAT, "version": VERSION, "members": writer.members}
        writer.add(MANIFEST, json.dumps(manifest, indent=1).encode())


def digest(path: Path) -> str:
    """Return the SHA-256 of a bundle."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path) -> dict[str, Any]:
    """Verify a bundle, and return its `run.json`.

    Raises `AsrLabError` if it is incomplete, a member differs from the manifest, or has an unsafe path.
    """
    return _read(path, lambda name: None)


def extract(path: Path, folder: Path) -> dict[str, Any]:
    """Unpack a bundle into an empty folder, and return its `run.json`; raises as `verify` does."""

    def create(name: str) -> IO[bytes]:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")

    return _read(path, create)


def _read(path: Path, create: Callable[[str], IO[bytes] | None]) -> dict[str, Any]:
    members: dict[str, dict[str, Any]] = {}
    small: dict[str, bytes] = {}
    with _opened(path) as tar:
        for member in tar:
            _check(path, member, members)
            target = create(member.name)
            members[member.name] = _copy(tar, member, target, small)
    if MANIFEST not in small or RUN not in small:
        raise _broken(path, f"it has no {MANIFEST}" if MANIFEST not in small else f"it has no {RUN}")
    manifest = _json(path, small[MANIFEST])
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise AsrLabError(
            f"a bundle of format {manifest.get('format')} {manifest.get('version')}",
            where=str(path),
            allowed=f"{FORMAT} {VERSION}",
        )
    del members[MANIFEST]
    for name in sorted(members.keys() | manifest["members"].keys()):
        if members.get(name) != manifest["members"].get(name):
            raise _broken(path, f"{name} is not what the manifest says")
    return _json(path, small[RUN])


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    if not path.is_file():
        raise AsrLabError("no such bundle", where=str(path))
    try:
        with (
            pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as packed,
            tarfile.open(fileobj=packed, mode="r|") as tar,
        ):
            yield tar
    except (OSError, EOFError, ValueError, KeyError, tarfile.TarError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk
            raise AsrLabError(f"the bundle cannot be unpacked: {error.strerror}", where=str(path)) from error
        raise _broken(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _check(path: Path, member: tarfile.TarInfo, members: dict[str, dict[str, Any]]) -> None:
    parts = PurePosixPath(member.name).parts
    safe = parts and not member.name.startswith("/") and ".." not in parts and "\\" not in member.name
    if not safe or str(PurePosixPath(member.name)) != member.name or "\0" in member.name:
        raise _broken(path, f"the member {member.name!r} would leave its place")
    if not member.isreg():
        raise _broken(path, f"the member {member.name!r} is not a plain file")
    if member.name in members:
        raise _broken(path, f"the member {member.name!r} is there twice")
    if member.size > shutil.disk_usage(path.parent).total:
        raise _broken(path, f"the member {member.name!r} would be larger than the disk")


def _copy(
    tar: tarfile.TarFile, member: tarfile.TarInfo, target: IO[bytes] | None, small: dict[str, bytes]
) -> dict[str, Any]:
    """Copy a member, and return its size and digest; `run.json` and the manifest are also stored in `small`."""
    hashed = hashlib.sha256()
    source = tar.extractfile(member)
    assert source is not None  # a plain file
    content = bytearray()
    try:
        while chunk := source.read(_CHUNK):
            hashed.update(chunk)
            if target:
                target.write(chunk)
            if member.name in (MANIFEST, RUN):
                content += chunk
    finally:
        if target:
            target.close()
    if member.name in (MANIFEST, RUN):
        small[member.name] = bytes(content)
    return {"size": member.size, "sha256": hashed.hexdigest()}


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise _broken(path, f"what should be JSON is not: {error}") from error
    if not isinstance(value, dict):
        raise _broken(path, "what should be a JSON object is not")
    return value


def _broken(path: Path, why: str) -> AsrLabError:
    return AsrLabError(f"the bundle is not whole: {why}", where=str(path), hint="nothing was restored from it")
