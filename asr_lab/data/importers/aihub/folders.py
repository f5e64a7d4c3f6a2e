"""Files of an AI-Hub corpus, and the splits named by its folders.

`1.Training/원천데이터/S001/0000.wav` and `1.Training/라벨링데이터/S001/0000.json` have the same *location*: the path
without the suffix and without folders that separate recordings from labels, `("1.Training", "S001", "0000")`. Names are
compared in NFC, because macOS unpacks them in NFD; files are opened by their actual names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from asr_lab.errors import AsrLabError

AUDIO = (".wav", ".flac", ".pcm", ".mp3", ".m4a", ".raw")
_SUFFIXES = (*AUDIO, ".json", ".txt")
_ARCHIVES = re.compile(r".*\.(zip|tar|tgz|tar\.gz|7z|(zip\.)?part\d*|z\d\d)", flags=re.IGNORECASE)
_NOT_OURS = "__MACOSX"
_SPLITS = {
    "train": r"train(ing)?|학습|훈련",
    "val": r"val(id(ation)?)?|dev(elopment)?|검증",
    "test": r"test|eval(uation)?|시험|평가|테스트",
}
_KINDS = re.compile(r"(^[\d._ -]*|[._ -]*)\[?(원천|라벨링|라벨)(데이터)?\]?[._ -]*")
_ZIPPED = re.compile(r"^([TV])[SL](?=[\d._ -]|$)")  # TS1 and TL1: sources and labels of Training
_ENGLISH_KINDS = re.compile(
    r"[\d._ -]*(labels?|labell?ing|json|wavs?|audio|sounds?|sources?|raw|annotations?|transcripts?|texts?|data)"
    r"([._ -]?data)?",
    flags=re.IGNORECASE,
)

Location = tuple[str, ...]


@dataclass
class Folder:
    """Recordings, labels and archives under a folder, in order of their paths."""

    root: Path
    audio: dict[Path, Location] = field(default_factory=dict)
    labels: dict[Path, Location] = field(default_factory=dict)
    archives: list[Path] = field(default_factory=list)


def scan_folder(root: Path) -> Folder:
    """Find the files under a folder, except hidden ones and `__MACOSX`."""
    folder_files = Folder(root)
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != _NOT_OURS)
        inner = PurePosixPath(Path(where).relative_to(root).as_posix())
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(where, name)
            suffix = path.suffix.lower()
            if suffix in AUDIO:
                folder_files.audio[path] = location(str(inner / name))
            elif suffix == ".json":
                folder_files.labels[path] = location(str(inner / name))
            elif _ARCHIVES.fullmatch(name):
                folder_files.archives.append(path)
    return folder_files


def location(path: str) -> Location:
    """Return the location of a path: its parts in NFC, without the suffix and the folders of sources or labels."""
    *folders, name = PurePosixPath(normalize("NFC", path).replace("\\", "/")).parts or ("",)
    file = PurePosixPath(name)
    parts = [_without_kind(folder) for folder in folders]
    return (*(folder for folder in parts if folder), file.stem if file.suffix.lower() in _SUFFIXES else name)


@lru_cache(maxsize=4096)
def _without_kind(folder: str) -> str:
    return "" if _ENGLISH_KINDS.fullmatch(folder) else _ZIPPED.sub(r"\1", _KINDS.sub("", folder))


@lru_cache(maxsize=4096)
def split_of(name: str) -> str:
    """Return the split of a folder or table value: `1.Training` and `학습데이터` are train; "" if it is none."""
    for split, pattern in _SPLITS.items():
        if re.fullmatch(rf"[\d._ -]*({pattern})용?(데이터)?([._ -].*)?", normalize("NFC", name), flags=re.IGNORECASE):
            return split
    return ""


def split_folder(where: Location) -> str:
    """Return the folder of a location that names a split, or ""."""
    return next((folder for folder in where[:-1] if split_of(folder)), "")


def within_split(where: Location) -> Location:
    """Return the location within its split."""
    return (*(folder for folder in where[:-1] if not split_of(folder)), where[-1])


def split_of_location(where: Location) -> str:
    """Return the split of a location by its folders, or `all`."""
    return split_of(split_folder(where)) or "all"


def parse_split(name: str) -> str:
    """Return the split of a table value; raises `AsrLabError` if it is unknown."""
    split = split_of(name)
    if not split:
        raise AsrLabError(f"the table's split {name!r} is not known", allowed="train, val or test, by any usual name")
    return split
