"""Labels of several recordings: a list that names a file in each entry, or one text for recordings made at once.

Reading aloud (485): the label is a list of readings, whose `sentences` have `voice_piece.filename` and
`voice_piece.tr`.
Commands in noise (71405): the label `NAME.json` is that of `NAME-N.wav` and `NAME-S.wav`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from asr_lab.data.audio import probe
from asr_lab.data.importers.aihub.dialogues import segments
from asr_lab.data.importers.aihub.folders import Location, location
from asr_lab.data.importers.aihub.labels import flat, read_label, value_of
from asr_lab.data.importers.aihub.pairs import Endings
from asr_lab.errors import AsrLabError, listing

_VARIANT = re.compile(r"(.+)[-_ ][A-Za-z]{1,3}")
_SAME_S = 0.2  # recordings made at once are as long as each other


@dataclass(frozen=True)
class Entry:
    """What a label has of one of its recordings."""

    path: Path
    content: Mapping[str, Any]


def shared_labels(audio: Mapping[Path, Location], labels: Mapping[Path, Location]) -> dict[Path, Entry | AsrLabError]:
    """Return recording -> its entry in a label of several, or why it has none; for recordings without a label."""
    endings, variants = Endings(audio), _variants(audio)
    by_recording: dict[Path, Entry | AsrLabError] = {}
    for path, where in labels.items():
        try:
            content = read_label(path)
        except AsrLabError:  # one that cannot be read names nothing
            continue
        entries = list(_entries(content))
        for name, entry in entries:
            for recording in _nearest(endings.like(location(name))[0], where, audio):
                is_new = recording not in by_recording
                by_recording[recording] = (
                    Entry(path, entry) if is_new else AsrLabError("two entries name this recording", where=str(path))
                )
        if not entries and not segments(content):
            by_recording |= _of_variants(_nearest(variants.get(where[-1], []), where, audio), Entry(path, content))
    return by_recording


def _variants(audio: Mapping[Path, Location]) -> dict[str, list[Path]]:
    """Return name without a last part of letters -> recordings."""
    paths = defaultdict(list)
    for path, where in audio.items():
        if match := _VARIANT.fullmatch(where[-1]):
            paths[match[1]].append(path)
    return paths


def _of_variants(recordings: list[Path], entry: Entry) -> dict[Path, Entry | AsrLabError]:
    """Return the entry for each recording of a label; errors if they are not as long as each other."""
    try:
        lengths = [info.frames / info.samplerate for info in map(probe, recordings)]
    except AsrLabError:  # a fault of its own, when it is read
        lengths = []
    if not lengths or max(lengths) - min(lengths) <= _SAME_S:
        return dict.fromkeys(recordings, entry)
    names = listing((f"{path.name} ({length:.2f} s)" for path, length in zip(recordings, lengths, strict=True)), 4)
    fault = AsrLabError(f"the recordings of one label differ in length: {names}", where=str(entry.path))
    return dict.fromkeys(recordings, fault)


def _nearest(candidates: list[Path], label: Location, audio: Mapping[Path, Location]) -> list[Path]:
    """Return the recordings that share the most first folders with a label."""
    shares = {path: _common(audio[path], label) for path in candidates}
    most = max(shares.values(), default=0)
    return [path for path in candidates if shares[path] == most]


def _common(one: Location, other: Location) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _entries(content: Any, above: Mapping[str, Any] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name of the recording, label) of each entry of a list that names one, with what all above it has."""
    if isinstance(content, dict):
        own = {key: value for key, value in content.items() if not _is_list(value)}
        for value in content.values():
            if _is_list(value):
                for entry in value:
                    if name := _named(entry):
                        yield name, {**(above or {}), **own, **entry}
                    else:
                        yield from _entries(entry, {**(above or {}), **own})


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _named(entry: Mapping[str, Any]) -> str:
    """Return the name of the recording in an entry of a list, "" if it has none of its own."""
    return value_of(flat({key: value for key, value in entry.items() if not _is_list(value)}), "audio")
