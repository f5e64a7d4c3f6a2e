"""Which label is of which recording of an AI-Hub corpus, and which recordings lie there more than once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from asr_lab.data.importers.aihub.folders import Folder, Place, below_split, place, split_folder, split_of
from asr_lab.data.importers.aihub.labels import flat, read_label, value_of
from asr_lab.data.manifest import file_digest
from asr_lab.errors import AsrLabError, listing


class Endings:
    """Recordings by the ends of their places."""

    def __init__(self, places: Mapping[Path, Place]) -> None:
        self._places = places
        self._by_end: dict[Place, list[Path]] = defaultdict(list)
        for path, where in places.items():
            for length in {1, min(2, len(where))}:
                self._by_end[where[-length:]].append(path)

    def like(self, wanted: Place) -> tuple[list[Path], int]:
        """(Those whose places end most like `wanted`, how many parts alike); none where not even the name is."""
        candidates = self._by_end.get(wanted[-2:]) or self._by_end.get(wanted[-1:], [])
        alike = {path: _alike(self._places[path], wanted) for path in candidates}
        most = max(alike.values(), default=0)
        return [path for path in candidates if alike[path] == most], most


def _alike(one: Place, other: Place) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one[::-1], other[::-1], strict=False)))


def one_a_place(places: Mapping[Path, Place], what: str) -> tuple[dict[Path, Place], dict[Place, AsrLabError]]:
    """(One file a place, place -> fault): files of one place and one content are one, others are none."""
    lying: dict[Place, list[Path]] = defaultdict(list)
    for path, where in places.items():
        lying[where].append(path)
    faults = {
        where: AsrLabError(f"two {what} of that name", where=listing(paths, 3))
        for where, paths in lying.items()
        if not all_same(paths)
    }
    return {paths[0]: where for where, paths in lying.items() if where not in faults}, faults


def pair(audio: Mapping[Path, Place], labels: Mapping[Path, Place]) -> dict[Path, Path]:
    """Recording -> its label, as far as only one can be meant.

    By the whole place, then by as much of its end as is alike, then by the file a label names, then by the name alone.
    """
    made: dict[Path, Path] = {}
    _match(made, audio, labels, lambda where: where)
    for length in range(max(map(len, (*audio.values(), *labels.values())), default=0), 1, -1):
        _match_ends(made, audio, labels, length)
    if len(made) < len(audio):
        _match_named(made, audio, labels)
    _match_ends(made, audio, labels, 1)
    return made


def _match_ends(made: dict[Path, Path], audio: Mapping[Path, Place], labels: Mapping[Path, Place], length: int) -> None:
    """Pair what ends alike, in one top folder before in any."""
    _match(made, audio, labels, lambda where: (where[0], where[-length:]) if len(where) >= length else None)
    _match(made, audio, labels, lambda where: where[-length:] if len(where) >= length else None)


def _match(
    made: dict[Path, Path],
    audio: Mapping[Path, Place],
    labels: Mapping[Path, Place],
    key: Callable[[Place], Hashable],
) -> None:
    """Pair what has one key, where one recording and one label of the whole corpus have it."""
    if len(made) == len(audio) or len(made) == len(labels):
        return
    taken, of_key = set(made.values()), _only(labels, key)
    for end, recording in _only(audio, key).items():
        label = of_key.get(end)
        if label and recording not in made and label not in taken:
            made[recording] = label


def _only(places: Mapping[Path, Place], key: Callable[[Place], Hashable]) -> dict[Hashable, Path]:
    count = Counter(map(key, places.values()))
    return {key(where): path for path, where in places.items() if count[key(where)] == 1 and key(where) is not None}


def _match_named(made: dict[Path, Path], audio: Mapping[Path, Place], labels: Mapping[Path, Place]) -> None:
    """Pair recordings with the labels that name them (`FileName`), where one label does."""
    taken, endings = set(made.values()), Endings(audio)
    naming: dict[Path, list[Path]] = defaultdict(list)
    for label in labels:
        if label not in taken:
            meant, _ = endings.like(place(_file_named(label)))
            if len(meant) == 1 and meant[0] not in made:
                naming[meant[0]].append(label)
    made.update((recording, named[0]) for recording, named in naming.items() if len(named) == 1)


def _file_named(label: Path) -> str:
    try:
        return value_of(flat(read_label(label)), "audio")
    except AsrLabError:  # one that cannot be read names nothing
        return ""


def without_doubles(there: Folder, labels: Mapping[Path, Path]) -> tuple[dict[Path, Place], list[str]]:
    """(Recordings, each once; notes): copies with one name and one content lie in a backup of another split.

    A copy has the label of the other, or none, or lies at the same place in another split.
    """
    alike: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for path, where in there.audio.items():
        alike[where[-1], path.stat().st_size].append(path)
    left_out: Counter[tuple[str, str]] = Counter()
    doubles = set()
    for paths in alike.values():
        taken: list[Path] = []
        for path in preferred(paths, there.audio) if len(paths) > 1 else ():
            first = next((one for one in taken if _double(one, path, there.audio, labels)), None)
            if first is None:
                taken.append(path)
            else:
                doubles.add(path)
                left_out[_folder(path, there.audio), _folder(first, there.audio)] += 1
    notes = [
        f"{count} recordings of {one} lie in {other} too, byte by byte: those in {other} were taken"
        for (one, other), count in sorted(left_out.items())
    ]
    return {path: where for path, where in there.audio.items() if path not in doubles}, notes


def preferred(paths: Iterable[Path], places: Mapping[Path, Place]) -> list[Path]:
    """The surest first: `2.Validation_split` and `3.Test` were made from `2.Validation`, which is left as a backup."""

    def order(path: Path) -> tuple[int, Path]:
        folder = split_folder(places[path])
        made_later = split_of(folder) == "test" or "split" in folder.lower()
        return (0 if made_later else 1 if split_of(folder) == "train" else 2 if folder else 3), path

    return sorted(paths, key=order)


def _double(one: Path, other: Path, places: Mapping[Path, Place], labels: Mapping[Path, Path]) -> bool:
    first, second = labels.get(one), labels.get(other)
    in_splits = bool(split_folder(places[one]) and split_folder(places[other]))
    same_place = in_splits and below_split(places[one]) == below_split(places[other])
    same_label = second is None or (first is not None and _same_bytes(first, second))
    return (same_place or same_label) and _same_bytes(one, other)


def all_same(paths: Sequence[Path]) -> bool:
    """Whether files hold the same bytes."""
    return all(_same_bytes(paths[0], path) for path in paths[1:])


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and file_digest(one) == file_digest(other)


def _folder(path: Path, places: Mapping[Path, Place]) -> str:
    where = places[path]
    return split_folder(where) or "/".join(where[:-1]) or "the top folder"


def ids(places: Mapping[Path, Place]) -> dict[Path, str]:
    """Recording -> its id: the name of the file, with as many folders before it as tell it from others."""
    length = dict.fromkeys(places, 1)
    for _ in range(max(map(len, places.values()), default=0)):
        named = {path: "-".join(where[-length[path] :]) for path, where in places.items()}
        count = Counter(named.values())
        if len(count) == len(named):
            break
        for path, name in named.items():
            length[path] += count[name] > 1
    return named if places else {}
