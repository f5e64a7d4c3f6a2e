"""Import KsponSpeech as published: `.pcm` with a `.txt` each (CP949), or the lists `KsponSpeech_scripts/*.trn`.

Transcripts keep both readings, `(70%)/(칠십 퍼센트)`: `data.text.transcription` chooses one. Nothing names speakers.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lhotse.cut import Cut

from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row, lines, read_text
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

_PARTS = {"train": "train", "dev": "val"}
_SEPARATOR = "::"
_AUDIO = (".pcm", ".wav", ".flac")


def import_ksponspeech(
    source: Path,
    out: Path,
    *,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the lists as `train`, `val`, `eval_clean`, `eval_other`; without lists, all transcripts as `all`.

    SOURCE is the folder of the corpus, any folder of it, or one list. Recordings are found by their names, wherever
    they are below. Raises one `AsrLabError` that names every fault.
    """
    report, folder = ImportReport(), source if source.is_dir() else source.parent
    lists = sorted(source.rglob("*.trn")) if source.is_dir() else [source]
    audio = _audio(folder if source.is_dir() else _above(folder, source))
    if not audio:
        raise AsrLabError("no recordings", where=str(folder), allowed="KsponSpeech_01/KsponSpeech_0001/*.pcm, or .wav")
    splits: dict[str, list[Cut]] = {}
    rows_of = {path: list(_listed(path, report)) for path in lists} or {folder: list(_beside(audio, folder, report))}
    for path, rows in rows_of.items():
        speakers = speakers.guessing(str(row.values["audio"]) for row in rows)
        located = list(_located(rows, audio, path, report))
        part = _PARTS.get(path.stem, path.stem) if path in lists else "all"
        splits[part] = import_rows(located, path, folder, report, progress, corpus="ksponspeech", speakers=speakers)
    report.notes.clear()
    listed = {
        PurePosixPath(str(row.values["audio"]).replace("\\", "/")).stem for rows in rows_of.values() for row in rows
    }
    if source.is_dir() and (unlisted := sum(len(paths) for name, paths in audio.items() if name not in listed)):
        report.notes.append(f"{counted(unlisted, 'recording', 'are')} in no list, and not used")
    report.settle(source, skip_faulty=skip_faulty, is_left=any(splits.values()))
    return ImportResult(splits={part: cuts for part, cuts in splits.items() if cuts}, report=report)


def _above(folder: Path, source: Path) -> Path:
    """Return the folder of the corpus for one of its lists: the one its first path starts from, else the one above."""
    first = next((line for line in lines(read_text(source)) if _SEPARATOR in line), "")
    start = first.partition(_SEPARATOR)[0].strip().partition("/")[0]
    return folder if (folder / start).exists() and start else folder.parent


def _audio(root: Path) -> dict[str, list[Path]]:
    """Return name without suffix -> recordings of that name under a folder."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(_AUDIO):
                by_stem[PurePosixPath(name).stem].append(Path(folder, name))
    return by_stem


def _listed(path: Path, report: ImportReport) -> Iterator[Row]:
    for number, line in enumerate(lines(read_text(path)), start=1):
        name, separator, text = line.partition(_SEPARATOR)
        if separator:
            yield Row(number, {"audio": name.strip(), "text": text.strip()})
        elif line.strip():
            report.add(f"line {number}", "no path and text around ::", line[:60], file=path, line=number)
            report.read += 1


def _beside(audio: dict[str, list[Path]], root: Path, report: ImportReport) -> Iterator[Row]:
    """Yield a row for each recording, with the text in the `.txt` beside it."""
    for path in (path for paths in audio.values() for path in paths):
        beside = path.with_suffix(".txt")
        name = path.relative_to(root).as_posix()
        if not beside.is_file():
            report.add(name, "no .txt beside the recording", file=path)
            report.read += 1
            continue
        try:
            text = " ".join(read_text(beside).split("\n")).strip()
        except AsrLabError as error:
            report.add_error(name, error, file=beside)
            report.read += 1
            continue
        yield Row(0, {"audio": name, "text": text})


def _located(rows: list[Row], audio: dict[str, list[Path]], path: Path, report: ImportReport) -> Iterator[Row]:
    """Yield the rows with the recordings that their paths mean: of several of a name, the one with the same end."""
    for row in rows:
        listed = PurePosixPath(str(row.values["audio"]).replace("\\", "/"))
        candidates = audio.get(listed.stem, [])
        same_end = [one for one in candidates if one.with_suffix("").as_posix().endswith(f"/{listed.with_suffix('')}")]
        chosen = same_end or candidates
        if len(chosen) == 1:
            more = {"id": listed.stem, "language": "ko"}
            yield Row(row.line, row.values | {"audio": str(chosen[0].absolute())} | more)
            continue
        why = "no such recording" if not chosen else f"{counted(len(chosen), 'recording')} of that name"
        report.add(str(listed), why, file=path, line=row.line)
        report.read += 1
