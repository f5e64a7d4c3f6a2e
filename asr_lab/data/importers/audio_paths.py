"""Find the audio files that a table names: in another normal form (macOS writes NFD), with backslashes, no suffix."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import normalize

from asr_lab.errors import AsrLabError, listing

SUFFIXES = (
    *("wav", "flac", "mp3", "ogg", "opus", "pcm", "raw", "aiff", "aif", "aifc", "au", "w64", "caf", "sph"),
    *("m4a", "mp4", "aac", "webm", "amr", "3gp", "wma", "wv", "mov", "mkv"),
)
_SUFFIX = re.compile(rf"\.({'|'.join(SUFFIXES)})$", re.IGNORECASE)
_MOST_FILES = 1_000_000  # that are searched for a name alone
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_audio_name(name: str) -> bool:
    """Return whether a file has a suffix of audio."""
    return bool(_SUFFIX.search(name))


def without_suffix(name: str) -> str:
    """Return a name without its suffix of audio; other dots are part of the name."""
    return _SUFFIX.sub("", name)


class AudioPaths:
    """The audio files under a folder, by the names in a table; folders are listed once.

    `deep`: a name without a folder may be that of a file in a folder below.
    """

    def __init__(self, root: Path, *, deep: bool = True) -> None:
        self._root, self._deep = root, deep
        self._listed: dict[Path, dict[str, list[Path]]] = {}
        self._below: dict[str, list[Path]] | None = None
        self.searched: dict[Path, str] = {}
        """The files that are not where their name says, with that name: of another machine, or of a folder below."""

    def find(self, name: str) -> Path:
        """Return the file of a name, relative to the folder or absolute.

        An absolute path that is not there (`C:\\rec\\wav\\1.wav`, of another machine) is the file with the longest end
        of it (`wav/1.wav`) in the folder; a name alone is the only file with it below. Raises `AsrLabError` if there is
        no such file, there are several, or two names end in the same one.
        """
        fault = AsrLabError("no such audio file", where=name)
        if not _WINDOWS.match(name):
            try:
                return self._there(name)
            except AsrLabError as error:
                fault = error
        if not (path := self._by_end(name)):
            raise fault
        if self.searched.setdefault(path, name) != name:
            raise AsrLabError(
                f"two names are of one file, {path}: this one and {self.searched[path]}",
                where=name,
                hint="paths from the folder of the table on are not ambiguous",
            )
        return path

    def _by_end(self, name: str) -> Path | None:
        """Return the file below the folder with the longest end of an absolute path, or with a name; None if none is.

        Raises `AsrLabError` if several files have the name.
        """
        path = PureWindowsPath(name) if _WINDOWS.match(name) else PurePosixPath(name)
        *ends, last = ["/".join(path.parts[start:]) for start in range(bool(path.anchor), len(path.parts))] or [""]
        for end in [*ends, last] if path.anchor else []:
            try:
                return self._there(end)
            except AsrLabError:
                continue
        if not last or not self._deep or ("/" in last or "\\" in last) or (ends and not path.anchor):
            return None
        files = self._index().get(normalize("NFC", last), [])
        if len(files) > 1:
            raise AsrLabError(
                f"{len(files)} files have this name: {listing((one.relative_to(self._root) for one in files), 4)}",
                where=name,
                allowed="paths with the folders",
            )
        return files[0] if files else None

    def _index(self) -> dict[str, list[Path]]:
        """Return the audio files below the folder by name in NFC, with and without suffix."""
        if self._below is None:
            self._below = defaultdict(list)
            for path in islice(_audio_below(self._root), _MOST_FILES):
                name = normalize("NFC", path.name)
                for one in {name, without_suffix(name)}:
                    self._below[one].append(path)
        return self._below

    def _there(self, name: str) -> Path:
        """Return the file of a name; raises `AsrLabError` if it is not there."""
        if _URL.match(name) and not name.lower().startswith("file://"):
            raise AsrLabError(f"audio is on another machine: {name}", allowed="files", hint="download them first")
        name = name.removeprefix("file://")
        path = self._root / name
        if path.is_file():
            return path
        if "\\" in name and not re.match(r"[A-Za-z]:", name):
            path = self._root / name.replace("\\", "/")
        folder = Path(path.anchor) if path.is_absolute() else Path()
        *outer, last = path.parts[1:] if path.is_absolute() else path.parts
        for part in outer:
            folder = self._inner(folder, part)
        if len(files := self._entries(folder, last)) == 1 and files[0].is_file():
            return files[0]
        return self._other(path, folder, last)

    def _inner(self, folder: Path, part: str) -> Path:
        if (folder / part).is_dir() or part == "..":
            return folder / part
        same = [one for one in self._entries(folder, part) if one.is_dir()]
        return same[0] if len(same) == 1 else folder / part

    def _entries(self, folder: Path, name: str) -> list[Path]:
        """Return the entries of a folder with this name in NFC."""
        if folder not in self._listed:
            self._listed[folder] = defaultdict(list)
            for path in folder.iterdir() if folder.is_dir() else ():
                self._listed[folder][normalize("NFC", path.name)].append(path)
        return self._listed[folder].get(normalize("NFC", name), [])

    def _other(self, path: Path, folder: Path, last: str) -> Path:
        """Return the only audio file with this name and a suffix; raise `AsrLabError` otherwise."""
        self._entries(folder, last)
        stem = normalize("NFC", last)
        bare = without_suffix(stem)
        alike = [
            one
            for name, paths in self._listed[folder].items()
            if is_audio_name(name) and without_suffix(name) == bare
            for one in paths
        ]
        if stem == bare and len(alike) == 1:
            return alike[0]
        hint = f"there is {listing(sorted(one.name for one in alike), 4)}" if alike else ""
        raise AsrLabError("no such audio file", where=str(path), hint=hint)


def _audio_below(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if is_audio_name(name) and not name.startswith("."))
