"""Corpora as AI-Hub has them: WAV files, a JSON label for each, in `1.Training`, `2.Validation` and `3.Test`.

A table beside the folders (`subset_metadata_with_test.csv`, else `subset_metadata.csv`) may say for each utterance its
speaker, age, SNR and split: then its rows are what is imported, and what it says goes before labels and folders.
A label may list the pieces of a recording (dialogues): then each is an utterance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut

from asr_lab.data.importers.aihub.faults import Fault, counted, refuse, unpack
from asr_lab.data.importers.aihub.folders import AUDIO, Folder, Place, scan
from asr_lab.data.importers.aihub.labels import Keys
from asr_lab.data.importers.aihub.pairs import ids, one_a_place, pair, without_doubles
from asr_lab.data.importers.aihub.reading import Reader
from asr_lab.data.importers.aihub.table import Row, read_table, recordings_of
from asr_lab.errors import AsrLabError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Imported:
    """Utterances by split as they lie (`all` without splits), notes on what was found, and what was left out."""

    parts: dict[str, list[Cut]]
    notes: list[str]
    faults: list[Fault]


def import_aihub(
    source: Path,
    *,
    keys: Mapping[str, str] | None = None,
    skip_faulty: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """The utterances of a corpus as it lies.

    `keys` names the key of a field (`text`, `speaker`, `age`, `gender`, `snr_db`) where it is called otherwise.
    Raises one `AsrLabError` that names every fault; with `skip_faulty` only where no utterance is left.
    """
    if not source.is_dir():
        raise AsrLabError("not a folder", where=str(source), allowed="a folder with WAV files and their JSON labels")
    named = Keys(keys or {})
    there, table = scan(source), read_table(source)
    if not there.audio:
        raise AsrLabError(
            "no audio files",
            where=str(source),
            allowed=f"files that end in {', '.join(AUDIO)}",
            hint=unpack(there.archives),
        )
    found = _found(there, table)
    reader = Reader(named, found.faults)
    names = ids({path: there.audio[path] for path in found.rows})
    for done, path in enumerate(sorted(found.rows, key=names.__getitem__), start=1):
        reader.read(names[path], path, there.audio[path], found.labels.get(path), found.rows[path])
        if progress:
            progress(done, len(names))
    named.check_met()
    parts = reader.parts()
    if reader.faults and not (skip_faulty and parts):
        refuse(reader.faults, source, there.archives, nothing_left=not parts)
    left_out = [f"{len(reader.faults)} faults, left out: {counted(reader.faults)}"] if reader.faults else []
    return Imported(parts, found.notes + reader.notes() + left_out, reader.faults)


@dataclass(frozen=True)
class _Found:
    """Recordings that count with their rows of the table, labels, notes, and faults."""

    rows: dict[Path, Row]
    labels: dict[Path, Path | AsrLabError]
    notes: list[str]
    faults: list[Fault]


def _found(there: Folder, table: Mapping[Place, Row] | None) -> _Found:
    there.audio, two_recordings = one_a_place(there.audio, "recordings")
    there.labels, two_labels = one_a_place(there.labels, "labels")
    faults = [Fault("/".join(where), error) for where, error in two_recordings.items()]
    paired = pair(there.audio, there.labels)
    unheard = len(there.labels) - len(paired)
    notes = [f"{unheard} labels have no audio: left out"] if unheard else []
    if table is None:
        kept, doubles = without_doubles(there, paired)
        rows: dict[Path, Row] = {path: {} for path in kept}
        notes += doubles
    else:
        rows, unfound = recordings_of(table, there.audio)
        faults += [Fault(name, error) for name, error in unfound]
        left = len(there.audio) - len(rows)
        notes += [f"{left} recordings are not in the table: left out"] if left else []
    doubtful = {path: two_labels[where] for path, where in there.audio.items() if where in two_labels}
    return _Found(rows, {**doubtful, **paired}, notes, faults)
