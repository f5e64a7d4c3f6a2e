"""Import LibriSpeech, and Zeroth-Korean, which has its form: `*.trans.txt` beside the audio of a speaker.

    train-clean-100/103/1240/103-1240.trans.txt     103-1240-0000 CHAPTER ONE ...
    train_data_01/003/106/106_003.trans.txt         106_003_0001 ...

Any level can be imported: the corpus, a subset, a speaker, a chapter. Speakers are the first part of an id, and a
folder above the file; SPEAKERS.TXT and AUDIO_INFO, in or above the imported folder, have their genders.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import Speakers
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row, lines, read_text
from asr_lab.errors import AsrLabError

_PARTS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
_SUBSET = re.compile(r"(train|dev|val|test)([-_].+)?", re.IGNORECASE)
_ABOVE = 4  # levels above the imported folder that may have the tables of speakers


def import_librispeech(
    source: Path, out: Path, *, skip_faulty: bool = False, progress: Progress = no_progress
) -> ImportResult:
    """Import all of LibriSpeech or a part of it; raises one `AsrLabError` that names every faulty line.

    All `train-*` become `train`; the only `dev-*` becomes `val`, the only `test-*` `test`, several keep their names.
    """
    return _import(source, "en", "librispeech", skip_faulty, progress)


def import_zeroth(
    source: Path, out: Path, *, skip_faulty: bool = False, progress: Progress = no_progress
) -> ImportResult:
    """Import all of Zeroth-Korean or a part of it, as `import_librispeech` does."""
    return _import(source, "ko", "zeroth", skip_faulty, progress)


def _import(source: Path, language: str, corpus: str, skip_faulty: bool, progress: Progress) -> ImportResult:
    if not source.is_dir():
        raise AsrLabError("not a folder", where=str(source), allowed="a folder with *.trans.txt below")
    files = list(_transcripts(source))
    if not files:
        raise AsrLabError(
            "no transcripts", where=str(source), allowed="files NAME.trans.txt beside the audio, at any level below"
        )
    report = ImportReport()
    table, genders = _genders(source)
    of_subset: dict[str, list[Cut]] = defaultdict(list)
    for done, path in enumerate(files, start=1):
        rows = list(_rows(path, language, genders))
        of_subset[_subset(path)] += import_rows(
            rows, path, path.parent, report, corpus=corpus, speakers=Speakers(guesses=True)
        )
        progress(done, len(files))
    report.notes.clear()
    speakers = {str(manifest.supervision(cut).speaker) for cuts in of_subset.values() for cut in cuts}
    report.add_joined("gender", genders, sorted(speakers), file=table, of="speaker", is_of_more=True)
    report.settle(source, skip_faulty=skip_faulty, is_left=any(of_subset.values()))
    return ImportResult(splits=_splits(of_subset), report=report)


def _transcripts(source: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".trans.txt"))


def _rows(path: Path, language: str, genders: dict[str, str]) -> Iterator[Row]:
    above = {normalize("NFC", folder.name) for folder in path.absolute().parents}
    for number, line in enumerate(lines(read_text(path)), start=1):
        id, _, text = line.strip().replace("\t", " ", 1).partition(" ")
        if not id:
            continue
        speaker = re.split("[-_]", id)[0]
        row = {"id": id, "audio": id, "text": text, "language": language, "gender": genders.get(speaker, "")}
        yield Row(number, row | ({"speaker": speaker} if speaker in above else {}))


def _genders(source: Path) -> tuple[Path, dict[str, str]]:
    """Return (table, speaker -> gender) of LibriSpeech or Zeroth, {} without one; names of people are not read."""
    for folder in (source.absolute(), *source.absolute().parents[:_ABOVE]):
        for name, of in (("SPEAKERS.TXT", 1), ("AUDIO_INFO", 2)):
            if (path := folder / name).is_file():
                cells = [[cell.strip() for cell in line.split("|")] for line in lines(read_text(path))]
                return path, {row[0]: row[of] for row in cells if len(row) > of and row[0].isalnum()}
    return source, {}


def _subset(path: Path) -> str:
    """Return the name of the subset that a file is in, "" if no folder above has one."""
    return next((folder.name for folder in path.absolute().parents if _SUBSET.fullmatch(folder.name)), "")


def _splits(of_subset: dict[str, list[Cut]]) -> dict[str, list[Cut]]:
    """Return the utterances by split; several subsets for validation or test stay apart, as their scores do."""
    parts = {name: _PARTS[re.split("[-_]", name.lower())[0]] if name else "all" for name in of_subset}
    count = Counter(parts.values())
    splits: dict[str, list[Cut]] = defaultdict(list)
    for name, cuts in sorted(of_subset.items()):
        alone = parts[name] in ("train", "all") or count[parts[name]] == 1
        splits[parts[name] if alone else name] += cuts
    return {name: cuts for name, cuts in splits.items() if cuts}
