"""Pair the recordings of an AI-Hub corpus with their labels, and find duplicate recordings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from asr_lab.data.importers.aihub.folders import Folder, Location, location, split_folder, split_of, within_split
from asr_lab.data.importers.aihub.labels import flat, read_label, value_of
from asr_lab.data.manifest import file_digest
from asr_lab.errors import AsrLabError, listing


class Endings:
    """Index of recordings by the last parts of their locations."""

    def __init__(self, locations: Mapping[Path, Location]) -> None:
        self._locations = locations
        self._by_end: dict[Location, list[Path]] = defaultdict(list)
        for path, where in locations.items():
            for length in {1, min(2, len(where))}:
                self._by_end[where[-length:]].append(path)

    def like(self, wanted: Location) -> tuple[list[Path], int]:
        """Return (recordings with the most trailing parts in common with `wanted`, the number of those parts)."""
        candidates = self._by_end.get(wanted[-2:]) or self._by_end.get(wanted[-1:], [])
        scores = {path: _alike(self._locations[path], wanted) for path in candidates}
        most = max(scores.values(), default=0)
        return [path for path in candidates if scores[path] == most], most


def _alike(one: Location, other: Location) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one[::-1], other[::-1], strict=False)))


def unique_files(
    locations: Mapping[Path, Location], what: str
) -> tuple[dict[Path, Location], dict[Location, AsrLabError]]:
    """Return (one file per location, location -> fault); identical files at a location are merged, others faults."""
    by_location: dict[Location, list[Path]] = defaultdict(list)
    for path, where in locations.items():
        by_location[where].append(path)
    faults = {
        where: AsrLabError(f"two {what} of that name", where=listing(paths, 3))
        for where, paths in by_location.items()
        if not all_same(paths)
    }
    return {paths[0]: where for where, paths in by_location.items() if where not in faults}, faults


def pair(audio: Mapping[Path, Location], labels: Mapping[Path, Location]) -> dict[Path, Path]:
    """Return recording -> label where unambiguous.

    Matches by location, then by its longest common end, then by the file named in a label, then by file name.
    """
    pairs: dict[Path, Path] = {}
    _match(pairs, audio, labels, lambda where: where)
    for length in range(max(map(len, (*audio.values(), *labels.values())), default=0), 1, -1):
        _match_ends(pairs, audio, labels, length)
    if len(pairs) < len(audio):
        _match_named(pairs, audio, labels)
    _match_ends(pairs, audio, labels, 1)
    return pairs


def _match_ends(
    pairs: dict[Path, Path], audio: Mapping[Path, Location], labels: Mapping[Path, Location], length: int
) -> None:
    """Match by the last parts of locations, first within the same top folder."""
    _match(pairs, audio, labels, lambda where: (where[0], where[-length:]) if len(where) >= length else None)
    _match(pairs, audio, labels, lambda where: where[-length:] if len(where) >= length else None)


def _match(
    pairs: dict[Path, Path],
    audio: Mapping[Path, Location],
    labels: Mapping[Path, Location],
    key: Callable[[Location], Hashable],
) -> None:
    """Pair a recording and a label by a key that no other recording or label has."""
    if len(pairs) == len(audio) or len(pairs) == len(labels):
        return
    taken, of_key = set(pairs.values()), _only(labels, key)
    for end, recording in _only(audio, key).items():
        label = of_key.get(end)
        if label and recording not in pairs and label not in taken:
            pairs[recording] = label


def _only(locations: Mapping[Path, Location], key: Callable[[Location], Hashable]) -> dict[Hashable, Path]:
    count = Counter(map(key, locations.values()))
    return {key(where): path for path, where in locations.items() if count[key(where)] == 1 and key(where) is not None}


def _match_named(pairs: dict[Path, Path], audio: Mapping[Path, Location], labels: Mapping[Path, Location]) -> None:
    """Pair recordings with labels that name their file (`FileName`), if exactly one does."""
    taken, endings = set(pairs.values()), Endings(audio)
    naming: dict[Path, list[Path]] = defaultdict(list)
    for label in labels:
        if label not in taken:
            named_by, _ = endings.like(location(_file_named(label)))
            if len(named_by) == 1 and named_by[0] not in pairs:
                naming[named_by[0]].append(label)
    pairs.update((recording, named[0]) for recording, named in naming.items() if len(named) == 1)


def _file_named(label: Path) -> str:
    try:
        return value_of(flat(read_label(label)), "audio")
    except AsrLabError:  # one that cannot be read names nothing
        return ""


def without_duplicates(folder: Folder, labels: Mapping[Path, Path]) -> tuple[dict[Path, Location], list[str]]:
    """Return (recordings without duplicates, notes). Duplicates are in a backup of another split.

    A duplicate has the same name and content, and the same label, or none, or the same location in another split.
    """
    copies: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for path, where in folder.audio.items():
        copies[where[-1], path.stat().st_size].append(path)
    left_out: Counter[tuple[str, str]] = Counter()
    duplicates = set()
    for paths in copies.values():
        taken: list[Path] = []
        for path in preferred(paths, folder.audio) if len(paths) > 1 else ():
            first = next((one for one in taken if _is_duplicate(one, path, folder.audio, labels)), None)
            if first is None:
                taken.append(path)
            else:
                duplicates.add(path)
                left_out[_folder(path, folder.audio), _folder(first, folder.audio)] += 1
    notes = [
        f"{count} recordings of {one} are also in {other}, byte by byte: those in {other} are used"
        for (one, other), count in sorted(left_out.items())
    ]
    return {path: where for path, where in folder.audio.items() if path not in duplicates}, notes


def preferred(paths: Iterable[Path], locations: Mapping[Path, Location]) -> list[Path]:
    """Sort by preference; `2.Validation` is a backup from which `2.Validation_split` and `3.Test` were made."""

    def order(path: Path) -> tuple[int, Path]:
        folder = split_folder(locations[path])
        made_later = split_of(folder) == "test" or "split" in folder.lower()
        return (0 if made_later else 1 if split_of(folder) == "train" else 2 if folder else 3), path

    return sorted(paths, key=order)


def _is_duplicate(one: Path, other: Path, locations: Mapping[Path, Location], labels: Mapping[Path, Path]) -> bool:
    first, second = labels.get(one), labels.get(other)
    in_splits = bool(split_folder(locations[one]) and split_folder(locations[other]))
    same_location = in_splits and within_split(locations[one]) == within_split(locations[other])
    same_label = second is None or (first is not None and _same_bytes(first, second))
    return (same_location or same_label) and _same_bytes(one, other)


def all_same(paths: Sequence[Path]) -> bool:
    """Return whether files have the same content."""
    return all(_same_bytes(paths[0], path) for path in paths[1:])


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and file_digest(one) == file_digest(other)


def _folder(path: Path, locations: Mapping[Path, Location]) -> str:
    where = locations[path]
    return split_folder(where) or "/".join(where[:-1]) or "the top folder"


def ids(locations: Mapping[Path, Location]) -> dict[Path, str]:
    """Return recording -> id: the file name, with as many parent folders as make it unique."""
    length = dict.fromkeys(locations, 1)
    for _ in range(max(map(len, locations.values()), default=0)):
        named = {path: "-".join(where[-length[path] :]) for path, where in locations.items()}
        count = Counter(named.values())
        if len(count) == len(named):
            break
        for path, name in named.items():
            length[path] += count[name] > 1
    return named if locations else {}
