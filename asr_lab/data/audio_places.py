"""Where audio is: a file, or a member of a tar of Lhotse Shar, in a folder or behind a URL of fsspec (`s3://...`).

A member is named as Lhotse 2 names it (`shar_ptr`): `recording.000003.tar?o=1536&e=36352`, the bytes of its header and
contents in the tar. It is read by one seek and one read, or one request, without an index.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from asr_lab.errors import AsrLabError, listing, reason
from asr_lab.units import counted

POINTER = "shar_ptr"
"""Type of the audio source of a member."""
MEMBER_DIGEST = "member_digest"
"""Custom field of a cut: SHA-256 (32 hexadecimal digits) of the member with its audio."""
_MEMBER = re.compile(r"(?P<file>.+)\?o=(?P<start>\d+)&e=(?P<end>\d+)")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+]+):/+(?P<rest>.+)")  # a path has lost the second slash
_BLOCK = 512  # of a tar
_REMADE = "asr-lab data shard, called as before, makes what is missing"


class Member(NamedTuple):
    """A member of a tar: from its header to the end of its contents, in bytes."""

    file: str
    start: int
    end: int


def pointer(file: str, start: int, end: int) -> str:
    """Return the source of a member."""
    return f"{file}?o={start}&e={end}"


def member_of(source: str) -> Member | None:
    """Return the member that a source names; None for a file."""
    match = _MEMBER.fullmatch(source) if "?o=" in source else None
    return Member(match["file"], int(match["start"]), int(match["end"])) if match else None


def file_of(source: str) -> str:
    """Return the file that a source is, or is in."""
    member = member_of(source)
    return member.file if member else source


def url_of(path: Path | str) -> str:
    """Return the URL that a path is, "" for a path of this machine."""
    match = _URL.fullmatch(str(path))
    return f"{match['scheme']}:{'///' if match['scheme'] == 'file' else '//'}{match['rest']}" if match else ""


def absolute(source: str, root: Path) -> str:
    """Return a source of a manifest in the folder `root` as it is found from anywhere; URLs and absolute paths stay."""
    return source if _URL.match(source) else str(root / source)


def relative(source: str, root: Path) -> str:
    """Return a source relative to a folder; URLs stay."""
    return source if _URL.match(source) else os.path.relpath(source, root)


@lru_cache
def file_system(scheme: str, process: int) -> Any:
    """Return the file system of fsspec of a kind of URL; each process has its own."""
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        raise AsrLabError(
            f"{scheme}:// cannot be read or written: {error}",
            allowed="a folder, or a URL of fsspec whose package is installed",
            next_command="pip install 'asr_lab[s3]'" if scheme == "s3" else "",
        ) from error


def opened_url(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    scheme, _, path = url.partition("://")
    return file_system(scheme, os.getpid()), path


def size_of(file: str) -> int:
    """Return the size of a file in bytes, -1 if there is none."""
    if not (url := url_of(file)):
        return os.path.getsize(file) if os.path.isfile(file) else -1  # noqa: PTH202, PTH113 - of very many
    system, path = opened_url(url)
    try:
        return int(system.info(path)["size"])
    except FileNotFoundError:
        return -1
    except Exception as error:  # of any service
        raise AsrLabError(f"the storage does not answer: {reason(error)}", where=url) from error


def is_there(source: str) -> bool:
    """Return whether the file of a source is there, with all of the member."""
    member = member_of(source)
    return size_of(member.file) >= member.end if member else size_of(source) >= 0


def check_there(sources: Iterable[str], where: str = "") -> None:
    """Raise `AsrLabError` that names missing files, and shards that are shorter than their members need."""
    needed: dict[str, int] = {}
    for source in sources:
        member = member_of(source)
        file, end = (member.file, member.end) if member else (source, 0)
        needed[file] = max(end, needed.get(file, 0))
    sizes = {file: size_of(file) for file in needed}
    missing = [file for file, size in sizes.items() if size < 0]
    if missing:
        is_shard = any(needed[file] for file in missing)
        what = f"{counted(len(missing), 'shard' if is_shard else 'audio file', 'are')} not there: {listing(missing, 3)}"
        raise AsrLabError(what, where=where, hint=_REMADE if is_shard else "")
    cut_off = [f"{file} ({size} of {needed[file]} bytes)" for file, size in sizes.items() if size < needed[file]]
    if cut_off:
        raise AsrLabError(
            f"{counted(len(cut_off), 'shard', 'are')} cut off: {listing(cut_off, 3)}", where=where, hint=_REMADE
        )


def read_member(member: Member) -> bytes:
    """Return the contents of a member.

    Raises `AsrLabError` that names the shard if it is missing, cut off, or not the one the manifest was written for.
    """
    data = _read(member)
    if len(data) < member.end - member.start:
        raise AsrLabError(
            f"the shard is cut off: it has {len(data)} of the {member.end - member.start} bytes from {member.start}",
            where=member.file,
            hint=_REMADE,
        )
    at = 0
    try:
        while data[at + 257 : at + 262] == b"ustar":
            size = int(data[at + 124 : at + 136].rstrip(b"\0 "), 8)
            if data[at + 156 : at + 157] in b"0\0":
                return data[at + _BLOCK : at + _BLOCK + size]
            at += _BLOCK * (1 + -(-size // _BLOCK))  # what holds a long name
    except ValueError:
        pass
    raise AsrLabError(
        f"no audio at byte {member.start} of the shard: it is not the one that the manifest was written for",
        where=member.file,
        hint="asr-lab data shard writes both",
    )


def _read(member: Member) -> bytes:
    try:
        if url := url_of(member.file):
            system, path = opened_url(url)
            found: bytes = system.cat_file(path, start=member.start, end=member.end)
            return found
        with open(member.file, "rb", buffering=0) as file:  # noqa: PTH123 - of very many
            file.seek(member.start)
            return file.read(member.end - member.start)
    except FileNotFoundError:
        raise AsrLabError("no such shard", where=member.file, hint=_REMADE) from None
    except Exception as error:  # of any service
        raise AsrLabError(f"the shard cannot be read: {reason(error)}", where=member.file) from error


def opened_member(source: str) -> io.BytesIO | None:
    """Return the contents of the member that a source names; None for a file."""
    member = member_of(source)
    return io.BytesIO(read_member(member)) if member else None
