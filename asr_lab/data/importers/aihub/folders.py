"""What lies in the folders of an AI-Hub corpus: recordings and labels, and what the names of the folders say.

`1.Training/원천데이터/S001/0000.wav` and `1.Training/라벨링데이터/S001/0000.json` have one *place*, the path
without the suffix and without folders that only part recordings from labels: `("1.Training", "S001", "0000")`.
Names are compared composed (NFC), for a Mac unpacks them decomposed; files are opened by the names they have.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from asr_lab.errors import AsrLabError

AUDIO = (".wav", ".flac", ".pcm")
_SUFFIXES = (*AUDIO, ".json", ".mp3", ".txt", ".raw")
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

Place = tuple[str, ...]


@dataclass
class Folder:
    """The files under a folder that matter here, in order of their paths."""

    root: Path
    audio: dict[Path, Place] = field(default_factory=dict)
    labels: dict[Path, Place] = field(default_factory=dict)
    archives: list[Path] = field(default_factory=list)


def scan(root: Path) -> Folder:
    """What lies under a folder; hidden files and what a Mac leaves in archives (`__MACOSX`) do not count."""
    there = Folder(root)
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != _NOT_OURS)
        inner = PurePosixPath(Path(where).relative_to(root).as_posix())
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(where, name)
            suffix = path.suffix.lower()
            if suffix in AUDIO:
                there.audio[path] = place(str(inner / name))
            elif suffix == ".json":
                there.labels[path] = place(str(inner / name))
            elif _ARCHIVES.fullmatch(name):
                there.archives.append(path)
    return there


def place(path: str) -> Place:
    """The place of a path: its parts, composed, without the suffix and without the folders of sources or labels."""
    *folders, name = PurePosixPath(normalize("NFC", path).replace("\\", "/")).parts or ("",)
    file = PurePosixPath(name)
    kept = [_without_kind(folder) for folder in folders]
    return (*(folder for folder in kept if folder), file.stem if file.suffix.lower() in _SUFFIXES else name)


@lru_cache(maxsize=4096)
def _without_kind(folder: str) -> str:
    return "" if _ENGLISH_KINDS.fullmatch(folder) else _ZIPPED.sub(r"\1", _KINDS.sub("", folder))


@lru_cache(maxsize=4096)
def split_of(name: str) -> str:
    """The split a name means, a folder's or a table's: `1.Training` and `학습데이터` are train; "" is none."""
    for split, pattern in _SPLITS.items():
        if re.fullmatch(rf"[\d._ -]*({pattern})용?(데이터)?([._ -].*)?", normalize("NFC", name), flags=re.IGNORECASE):
            return split
    return ""


def split_folder(where: Place) -> str:
    """The folder of a place that names a split, "" where none does."""
    return next((folder for folder in where[:-1] if split_of(folder)), "")


def below_split(where: Place) -> Place:
    """The place inside its split."""
    return (*(folder for folder in where[:-1] if not split_of(folder)), where[-1])


def split_lain_in(where: Place) -> str:
    """The split whose folder a place is in; `all` where there is none."""
    return split_of(split_folder(where)) or "all"


def split_named(name: str) -> str:
    """The split a table names; raises `AsrLabError` for one that is not known."""
    split = split_of(name)
    if not split:
        raise AsrLabError(f"the table's split {name!r} is not known", allowed="train, val or test, by any usual name")
    return split
