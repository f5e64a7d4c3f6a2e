"""Find the audio files that a table names: in another normal form (macOS writes NFD), with backslashes, no suffix."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from unicodedata import normalize

from asr_lab.errors import AsrLabError, listing

SUFFIXES = (
    *("wav", "flac", "mp3", "ogg", "opus", "pcm", "raw", "aiff", "aif", "aifc", "au", "w64", "caf", "sph"),
    *("m4a", "mp4", "aac", "webm", "amr", "3gp", "wma", "wv", "mov", "mkv"),
)
_SUFFIX = re.compile(rf"\.({'|'.join(SUFFIXES)})$", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_audio_name(name: str) -> bool:
    """Return whether a file has a suffix of audio."""
    return bool(_SUFFIX.search(name))


def without_suffix(name: str) -> str:
    """Return a name without its suffix of audio; other dots are part of the name."""
    return _SUFFIX.sub("", name)


class AudioPaths:
    """The audio files under a folder, by the names in a table; folders are listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def find(self, name: str) -> Path:
        """Return the file of a name, relative to the folder or absolute; raises `AsrLabError` if it is not there."""
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
