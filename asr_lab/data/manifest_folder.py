"""Folders of manifests: which file is which split, and which files belong to the same split corpus."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from asr_lab.data.identity import SUFFIX
from asr_lab.errors import AsrLabError, listing

NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "dev", "valid", "validation"),
    "test": ("test",),
    "test_hard": ("test-hard", "test_hard"),
}
"""Split -> names of its manifest without suffix, the usual one first."""


def split_manifests(folder: Path) -> dict[str, Path]:
    """Return split -> manifest of the splits in a folder (`train.jsonl.gz`, `val.jsonl.gz`, ...).

    Raises `AsrLabError` if there is no such folder, if it has no split, or two manifests of one split.
    """
    if not folder.is_dir():
        raise AsrLabError("no such folder", where=str(folder), allowed=f"a folder with train{SUFFIX}")
    manifests = {split: path for split, names in NAMES.items() if (path := _one(split, [folder / n for n in names]))}
    if not manifests:
        others = sorted(path.name for path in folder.glob(f"*{SUFFIX}"))
        split = (
            f"asr-lab data split {shlex.quote(str(folder / others[0]))} {shlex.quote(str(folder))}" if others else ""
        )
        raise AsrLabError(
            "the folder has no manifest of a split",
            where=str(folder),
            allowed=f"train{SUFFIX}, val{SUFFIX}, test{SUFFIX}" + (f"; it has {listing(others, 4)}" if others else ""),
            next_command=split or "asr-lab data import --help",
        )
    return manifests


def manifest_in(folder: Path, split: str, key: str) -> Path:
    """Return the manifest of a split in the folder given for a config key; raises `AsrLabError` if there is none."""
    index = folder.parent / f"{folder.name}{SUFFIX}"
    if any(folder.glob("cuts.*.jsonl.gz")) and index.is_file():
        raise AsrLabError(
            "a folder of shards, whose manifest is beside it", where=str(folder), allowed=f"{key}={index}"
        )
    if manifest := _one(split, [folder / name for name in NAMES[split]]):
        return manifest
    there = listing(sorted(path.name for path in folder.glob(f"*{SUFFIX}")), 4)
    raise AsrLabError(
        f"a folder without {listing(f'{name}{SUFFIX}' for name in NAMES[split])}",
        where=f"{key}={folder}",
        allowed=f"a manifest, or a folder with it; in this one: {there or 'no manifest'}",
        next_command=f"asr-lab data split {shlex.quote(str(folder))}" if there else "asr-lab data import --help",
    )


def sibling(manifest: Path, split: str, wanted: str) -> Path | None:
    """Return the manifest of the split `wanted` that belongs to a manifest of another `split`; None if there is none.

    It has the same name with the other split in it (`train-small.jsonl.gz`, `val-small.jsonl.gz`), or is simply
    called `val.jsonl.gz`. A manifest whose name is not that of its split (`all.jsonl.gz`) has no siblings: what lies
    beside it may be parts of it. Raises `AsrLabError` if two manifests could be meant.
    """
    stem = manifest.name.removesuffix(SUFFIX)
    for name in NAMES[split]:
        parts = re.split(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", stem)
        if len(parts) == 2:
            exact = [manifest.with_name(part.join(parts)) for part in NAMES[wanted]]
            plain = [manifest.with_name(part) for part in NAMES[wanted]]
            return _one(wanted, exact) or _one(wanted, plain)
    return None


def _one(split: str, stems: list[Path]) -> Path | None:
    there = [path for stem in stems if (path := stem.with_name(stem.name + SUFFIX)).is_file()]
    if len(there) > 1:
        raise AsrLabError(
            f"two manifests could be the split {split}: {listing(path.name for path in there)}",
            where=str(there[0].parent),
            allowed=f"one of them as data.{split}=...",
        )
    return there[0] if there else None
