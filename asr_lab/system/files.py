"""Files and folders that are written completely or not at all: beside their place, then renamed into it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asr_lab.errors import AsrLabError, not_written
from asr_lab.system import processes

LEFT_OVER_S = 3600.0
"""Age above which a temporary file was left by a process that was killed."""


def now(folder: Path) -> float:
    """Return the time in seconds since 1970 by the clock of the file system, one for all machines that use it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def own_temporary_folder(name: str) -> Path:
    """Return a folder for temporary files that this user's processes share; no user can write into another's."""
    user = os.getuid() if hasattr(os, "getuid") else "own"  # Windows has a folder for each user
    return Path(tempfile.gettempdir(), f"{name}-{user}")


def temporary(path: Path) -> Path:
    """Return the path that this thread, on this machine or container, writes to: `.NAME.ID.writing` beside `path`."""
    return path.with_name(f".{path.name}.{threading.get_native_id()}-{processes.here()}.writing")


@contextmanager
def atomic_file(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a path to write to; the file replaces `path` once it is written, and is deleted if that fails.

    `sync` waits for the disk first, for what a power loss must not take. A device or a pipe is not replaced: the
    content is copied into it.
    """
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield (written := Path(folder) / path.name)
            with written.open("rb") as content, _open_stream(path) as stream:
                shutil.copyfileobj(content, stream)
        return
    written = prepare(path)
    try:
        yield written
        if sync:
            with written.open("rb") as file:
                os.fsync(file.fileno())
        written.replace(path)
    finally:
        with suppress(OSError):
            written.unlink(missing_ok=True)


def _open_stream(path: Path) -> BinaryIO:
    """Open a stream for appending; for one that this process has open, flush it and use its descriptor."""
    for printed in (sys.stdout, sys.stderr):
        printed.flush()
    number = {"/dev/stdout": "1", "/dev/stderr": "2"}.get(str(path), path.name)
    is_own = number.isdecimal() and str(path.parent) in ("/dev", "/dev/fd", "/proc/self/fd")
    return open(int(number), "wb", closefd=False) if is_own and not path.is_fifo() else path.open("ab")


def _is_stream(path: Path) -> bool:
    """Return whether a path is a device, a pipe, or a name of an open file, such as `/dev/stdout`."""
    is_open_file = str(path.parent) in ("/dev", "/dev/fd") or path.is_relative_to("/proc")
    return path.exists() and (is_open_file or not (path.is_file() or path.is_dir()))


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file atomically; `mode` is that of `open`, less the umask."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with atomic_file(path) as written, os.fdopen(os.open(written, flags, mode), "wb") as file:
        file.write(content)


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write a file atomically, in UTF-8."""
    write_bytes(path, text.encode(), mode=mode)


@contextmanager
def atomic_folder(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Yield a new folder; it becomes `path` once it is written, and is deleted if that fails.

    A folder with anything in it is in the way (`AsrLabError`), unless this one `replaces` it. Then this process is
    the only one to write it, and `restore_former` mends what a kill between the two renames leaves.
    """
    written = prepare(path, left_over_s=0.0 if replaces else LEFT_OVER_S)
    try:
        written.mkdir()
        yield written
        if replaces and path.is_dir():  # it is removed only when the new one is in its place
            shutil.rmtree(_former(path), ignore_errors=True)
            path.rename(_former(path))
        elif path.is_dir() and any(path.iterdir()):
            raise AsrLabError("there is something already where this folder would go", where=str(path))
        written.rename(path)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    if replaces:
        shutil.rmtree(_former(path), ignore_errors=True)


def restore_former(path: Path) -> None:
    """Put back a folder whose replacement was cut off between its two renames."""
    if _former(path).is_dir() and not path.is_dir():
        _former(path).rename(path)


def _former(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def prepare(path: Path, left_over_s: float = LEFT_OVER_S) -> Path:
    """Return where this thread writes `path`; make its folder, and delete what killed processes left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = temporary(path)
    # earlier versions had no number in the name or only that of the thread, or ended it in `part`
    name = re.compile(rf"\.{re.escape(path.name)}(\.\d+(-[\da-f]+)?)?\.(writing|part)")
    with suppress(OSError):  # one was just renamed, or is not readable
        for other in path.parent.iterdir():
            if name.fullmatch(other.name) and (other == own or is_left_over(other, left_over_s)):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
    return own


def is_left_over(path: Path, left_over_s: float = LEFT_OVER_S) -> bool:
    """Return whether a temporary file or folder is of a process that was killed, by its age on its file system."""
    return now(path.parent) - path.stat().st_mtime >= left_over_s


@contextmanager
def explain_unwritable(
    what: str,
    path: Path,
    *,
    hint: str = "what was written before is complete: the same command continues from there",
    removes: bool = False,
) -> Iterator[None]:
    """Raise one `AsrLabError` if writing `path` fails, as on a full disk or in a read-only folder.

    `removes` what there is of it then.
    """
    try:
        yield
    except AsrLabError:
        raise
    except Exception as error:
        why = not_written(error)
        if not why:
            raise
        if removes:
            shutil.rmtree(path, ignore_errors=True)
        known = remedy(error) if isinstance(error, OSError) else _MAKE_ROOM
        raise AsrLabError(
            f"{what} cannot be written: {why}{free_space(path, error)}",
            where=str(path),
            hint="; ".join(filter(None, (known, hint))),
        ) from error


_MAKE_ROOM = "make room on the disk"
LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDIES = {
    **dict.fromkeys(FULL, _MAKE_ROOM),
    errno.EFBIG: "a limit on the size of a file is reached: ulimit -f, or the file system's",
    errno.EROFS: "the file system is read-only: work in a folder that can be written",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "permission to read or write is needed for the folder and its files"),
    **dict.fromkeys(
        LOCKLESS, "this file system has no working locks (NFS without its lock service): use a folder on a local disk"
    ),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "the disk or the network file system fails: see dmesg, and mount"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many files are open: raise ulimit -n"),
}


def remedy(error: OSError) -> str:
    """Return advice on an error of the file system; "" if there is none beyond its message."""
    return _REMEDIES.get(error.errno or 0, "")


def free_space(path: Path, error: BaseException) -> str:
    """Return ` (12 MB are free)` for the disk of a path; "" if the error has another cause."""
    if isinstance(error, OSError) and error.errno not in FULL:
        return ""
    with suppress(OSError):
        place = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
        return f" ({shutil.disk_usage(place).free / 1e6:,.0f} MB are free)"
    return ""
