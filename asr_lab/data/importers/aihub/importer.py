"""Corpora as AI-Hub has them: WAV files, a JSON label for each, in `1.Training`, `2.Validation` and `3.Test`.

A table beside the folders (`subset_metadata_with_test.csv`, else `subset_metadata.csv`) may say for each utterance its
speaker, age, SNR and split: then its rows are what is imported, and its values take precedence over labels and folders.
A label may list the pieces of a recording (dialogues): then each is an utterance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut

from asr_lab.data.curriculum import check_disjoint
from asr_lab.data.importers.aihub.folders import AUDIO, Folder, Place, scan
from asr_lab.data.importers.aihub.labels import Keys
from asr_lab.data.importers.aihub.metadata_table import Row, read_table, recordings_of
from asr_lab.data.importers.aihub.pairs import ids, one_a_place, pair, without_doubles
from asr_lab.data.importers.aihub.utterances import Reader
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import AsrLabError, listing


def import_aihub(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    as_one: bool = False,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """The utterances of a corpus by its splits, `all` without splits; `as_one` merges them into `all`.

    `keys` names the key of a field (`text`, `speaker`, `age`, `gender`, `snr_db`) where it is called otherwise.
    Raises one `AsrLabError` that names every fault, with `skip_faulty` only where no utterance is left; and one for
    speakers that are in two splits.
    """
    if not source.is_dir():
        raise AsrLabError("not a folder", where=str(source), allowed="a folder with WAV files and their JSON labels")
    named = Keys(keys or {})
    folder, table = scan(source), read_table(source)
    if not folder.audio:
        raise AsrLabError(
            "no audio files",
            where=str(source),
            allowed=f"files that end in {', '.join(AUDIO)}",
            hint=_unpack(folder.archives),
        )
    report = ImportReport()
    recordings = _recordings(folder, table, report)
    reader = Reader(named, report)
    names = ids({path: folder.audio[path] for path in recordings.rows})
    for done, path in enumerate(sorted(recordings.rows, key=names.__getitem__), start=1):
        reader.read(names[path], path, folder.audio[path], recordings.labels.get(path), recordings.rows[path])
        progress(done, len(names))
    named.check_met()
    splits = reader.splits()
    report.notes += reader.notes()
    if report.faults and not (skip_faulty and splits):
        skip = "--skip-faulty leaves them out and lists them in OUT/faults.tsv" if splits else ""
        report.refuse(source, hints=(_unpack(folder.archives), skip))
    if as_one:
        splits = {"all": [cut for cuts in splits.values() for cut in cuts]}
    _check_speakers(splits, source)
    return ImportResult(splits=splits, report=report)


def _unpack(archives: Sequence[Path]) -> str:
    """The advice to unpack archives, "" where there are none."""
    return f"unpack the archives that lie there: {listing(sorted(archives), 3)}" if archives else ""


def _check_speakers(splits: Mapping[str, Sequence[Cut]], source: Path) -> None:
    """Raise `AsrLabError` where two splits share a speaker, with the commands that split anew."""
    try:
        check_disjoint(splits)
    except AsrLabError as error:
        again = f"asr-lab data import aihub {source} OUT --as-one, then asr-lab data split OUT/all.jsonl.gz OUT"
        raise AsrLabError(error.what, where=str(source), allowed=error.allowed, next_command=again) from error


@dataclass(frozen=True)
class _Recordings:
    """The recordings that count, with their rows of the table and their labels."""

    rows: dict[Path, Row]
    labels: dict[Path, Path | AsrLabError]


def _recordings(folder: Folder, table: Mapping[Place, Row] | None, report: ImportReport) -> _Recordings:
    folder.audio, ambiguous_audio = one_a_place(folder.audio, "recordings")
    folder.labels, ambiguous_labels = one_a_place(folder.labels, "labels")
    for where, error in ambiguous_audio.items():
        report.add_error("/".join(where), error)
    paired = pair(folder.audio, folder.labels)
    if unpaired := len(folder.labels) - len(paired):
        report.notes.append(f"{unpaired} labels have no audio: left out")
    if table is None:
        once, doubles = without_doubles(folder, paired)
        rows: dict[Path, Row] = {path: {} for path in once}
        report.notes += doubles
    else:
        rows, missing = recordings_of(table, folder.audio)
        for name, error in missing:
            report.add_error(name, error)
        if unlisted := len(folder.audio) - len(rows):
            report.notes.append(f"{unlisted} recordings are not in the table: left out")
    doubtful = {path: ambiguous_labels[where] for path, where in folder.audio.items() if where in ambiguous_labels}
    return _Recordings(rows, {**doubtful, **paired})
