"""Import AI-Hub corpora: recordings with JSON labels, in `1.Training`, `2.Validation` and `3.Test`.

An optional table beside the folders (`subset_metadata_with_test.csv`, else `subset_metadata.csv`) has the speaker, age,
SNR and split of utterances: then only its rows are imported, and its values take precedence over labels and folders. A
label may list the segments of a recording (dialogues): then each segment is an utterance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.curriculum import check_disjoint
from asr_lab.data.importers.aihub.folders import AUDIO, Folder, Location, scan_folder
from asr_lab.data.importers.aihub.labels import Keys
from asr_lab.data.importers.aihub.metadata_table import Row, read_table, recordings_of
from asr_lab.data.importers.aihub.pairs import ids, pair, unique_files, without_duplicates
from asr_lab.data.importers.aihub.shared_labels import Entry, shared_labels
from asr_lab.data.importers.aihub.utterances import Reader
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.hints import check_speakers
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted


def import_aihub(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    speakers: Speakers = AS_NAMED,
    as_one: bool = False,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a corpus by its splits, or as `all` without splits; `as_one` merges splits into `all`.

    `keys` names nonstandard keys of fields (`text`, `speaker`, `age`, `gender`, `snr_db`); `speakers` say
    who speaks in a recording. Raises one `AsrLabError` that names every fault, with `skip_faulty`
    only if no utterance is left; and one for speakers in two splits.
    """
    if not source.is_dir():
        raise AsrLabError("not a folder", where=str(source), allowed="a folder with WAV files and their JSON labels")
    keys = keys or {}
    named = Keys(keys)
    folder, table = scan_folder(source), read_table(source)
    if not folder.audio:
        raise AsrLabError(
            "no audio files",
            where=str(source),
            allowed=f"files that end in {', '.join(AUDIO)}",
            hint=_unpack(folder.archives),
        )
    report = ImportReport()
    recordings = _recordings(folder, table, report)
    reader = Reader(named, report, speakers)
    names = ids({path: folder.audio[path] for path in recordings.rows})
    for done, path in enumerate(sorted(recordings.rows, key=names.__getitem__), start=1):
        reader.read(names[path], path, folder.audio[path], recordings.labels.get(path), recordings.rows[path])
        progress(done, len(names))
    named.check_met()
    splits = reader.splits()
    report.notes += reader.notes()
    report.settle(
        source, skip_faulty=skip_faulty, is_left=bool(splits), hints=(*reader.hints(), _unpack(folder.archives))
    )
    if not splits:
        report.refuse(source, "no utterance has words", hints=report.notes)
    if "speaker" in named.named:
        cuts = [cut for one in splits.values() for cut in one]
        given = [str(manifest.supervision(cut).speaker) for cut in cuts]
        check_speakers(f"the values of --keys speaker={keys['speaker']}", given, list(map(manifest.text, cuts)))
    if as_one:
        splits = {"all": [cut for cuts in splits.values() for cut in cuts]}
    _check_speakers(splits, source)
    return ImportResult(splits=splits, report=report)


def _unpack(archives: Sequence[Path]) -> str:
    """Return a hint to unpack archives, "" if there are none."""
    return f"unpack the archives: {listing(sorted(archives), 3)}" if archives else ""


def _check_speakers(splits: Mapping[str, Sequence[Cut]], source: Path) -> None:
    """Raise `AsrLabError` if two splits share a speaker, with the commands for a new split."""
    try:
        check_disjoint(splits)
    except AsrLabError as error:
        again = f"asr-lab data import aihub {source} OUT --as-one, then asr-lab data split OUT/all.jsonl.gz OUT"
        raise AsrLabError(error.what, where=str(source), allowed=error.allowed, next_command=again) from error


@dataclass(frozen=True)
class _Recordings:
    """The recordings to import, with their rows of the table and their labels."""

    rows: dict[Path, Row]
    labels: dict[Path, Path | Entry | AsrLabError]


def _recordings(folder: Folder, table: Mapping[Location, Row] | None, report: ImportReport) -> _Recordings:
    folder.audio, ambiguous_audio = unique_files(folder.audio, "recordings")
    folder.labels, ambiguous_labels = unique_files(folder.labels, "labels")
    for where, error in ambiguous_audio.items():
        report.add_error("/".join(where), error)
    paired = pair(folder.audio, folder.labels)
    rest = {path: where for path, where in folder.audio.items() if path not in paired}
    unused = set(folder.labels) - set(paired.values())
    shared = shared_labels(rest, {path: folder.labels[path] for path in sorted(unused)}) if rest and unused else {}
    several = {one.path for one in shared.values() if isinstance(one, Entry)}
    if several:
        report.notes.append(
            f"{counted(len(shared), 'recording', 'have')} a label with others, {counted(len(several), 'label')}"
        )
    if unpaired := len(unused - several):
        report.notes.append(f"{counted(unpaired, 'label', 'have')} no audio: left out")
        report.left_out["a label without audio"] += unpaired
    if table is None:
        of_several = {path: one.path for path, one in shared.items() if isinstance(one, Entry)}
        once, duplicates = without_duplicates(folder, {**of_several, **paired})
        rows: dict[Path, Row] = {path: {} for path in once}
        report.notes += duplicates
        report.left_out["a recording that is also in another folder"] += len(folder.audio) - len(rows)
    else:
        rows, missing = recordings_of(table, folder.audio)
        for name, error in missing:
            report.add_error(name, error)
        if unlisted := len(folder.audio) - len(rows):
            report.notes.append(f"{counted(unlisted, 'recording', 'are')} not in the table: left out")
            report.left_out["a recording that is not in the table"] += unlisted
    doubtful = {path: ambiguous_labels[where] for path, where in folder.audio.items() if where in ambiguous_labels}
    return _Recordings(rows, {**doubtful, **shared, **paired})
