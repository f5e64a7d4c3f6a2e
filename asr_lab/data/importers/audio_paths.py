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
from asr_lab.units import counted

SUFFIXES = (
    *("wav", "flac", "mp3", "ogg", "opus", "pcm", "raw", "aiff", "aif", "aifc", "au", "w64", "caf", "sph"),
    *("m4a", "mp4", "aac", "webm", "amr", "3gp", "wma", "wv", "mov", "mkv"),
)
_SUFFIX = re.compile(rf"\.({'|'.join(SUFFIXES)})$", re.IGNORECASE)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_MOST_FILES = 1_000_000  # that are searched for a name alone
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_audio_name(name: str) -> bool:
    """Return whether a file has a suffix of audio."""
    return bool(_SUFFIX.search(name))


def without_suffix(name: str) -> str:
    """Return a name without its suffix of audio; other dots are part of the name."""
    return _SUFFIX.sub("", name)


class AudioPaths:
    """The audio files under folders, by the names in a table; folders are listed once.

    With `searches`, what is not where its name says is searched below the first folder: an absolute path of another
    machine (`C:\\rec\\wav\\1.wav`) is the file with the longest end of it (`wav/1.wav`), and a name without a folder is
    the only file of this name.
    """

    def __init__(self, root: Path, *others: Path, searches: bool = False) -> None:
        self._roots, self._searches = (root, *others), searches
        self._listed: dict[Path, dict[str, list[Path]]] = {}
        self._by_name: dict[str, list[Path]] = {}
        self.searched: dict[Path, str] = {}
        """The files that were searched for, with the names of the table."""

    def find(self, name: str) -> Path:
        """Return the file of a name, absolute or relative to the first of the folders that has it.

        Raises `AsrLabError` if it is not there, if several files have its name, or if two names are of one file that is
        searched for.
        """
        if _URL.match(name) and not name.lower().startswith("file://"):
            raise AsrLabError(f"audio is on another machine: {name}", allowed="files", hint="download them first")
        name = name.removeprefix("file://")
        for other in self._roots[1:]:
            if not (self._roots[0] / name).is_file() and (other / name).is_file():
                return other / name
        try:
            return self._below(self._roots[0], name)
        except AsrLabError:
            if not self._searches or not (path := self._search(name)):
                raise
        if self.searched.setdefault(path, name) != name:
            raise AsrLabError(
                f"two names are of one file, {path}: this one and {self.searched[path]}",
                where=name,
                hint="paths from the folder of the table on are not ambiguous",
            )
        return path

    def _search(self, name: str) -> Path | None:
        """Return the file with the longest end of an absolute path, or with a name; None if there is none.

        Raises `AsrLabError` if several files have the name.
        """
        root = self._roots[0]
        path = PureWindowsPath(name) if _WINDOWS.match(name) else PurePosixPath(name.replace("\\", "/"))
        inner = path.parts[1:] if path.anchor else path.parts
        for start in range(len(inner)) if path.anchor else ():
            try:
                return self._below(root, "/".join(inner[start:]))
            except AsrLabError:
                continue
        if not inner or (len(inner) > 1 and not path.anchor):
            return None
        files = self._named(inner[-1])
        if len(files) > 1:
            raise AsrLabError(
                f"{counted(len(files), 'file', 'have')} this name: "
                f"{listing((one.relative_to(root) for one in files), 4)}",
                where=name,
                allowed="paths with the folders",
            )
        return files[0] if files else None

    def _named(self, name: str) -> list[Path]:
        """Return the audio files below the first folder with a name in NFC, with or without a suffix."""
        if not self._by_name:
            index: dict[str, list[Path]] = defaultdict(list)
            for path in islice(_audio_below(self._roots[0]), _MOST_FILES):
                own = normalize("NFC", path.name)
                for one in {own, without_suffix(own)}:
                    index[one].append(path)
            self._by_name = dict(index) or {"": []}
        return self._by_name.get(normalize("NFC", name), [])

    def _below(self, root: Path, name: str) -> Path:
        path = root / name
        if path.is_file():
            return path
        if "\\" in name and not re.match(r"[A-Za-z]:", name):
            path = root / name.replace("\\", "/")
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
