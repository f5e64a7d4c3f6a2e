"""speechocean762 (Zhang et al. 2021, arXiv:2104.01378): 5,000 English utterances, 250 Mandarin speakers, half children.

Kaldi files in `train/` and `test/` (`wav.scp text utt2spk spk2age spk2gender`), canonical phones of each word in
`resource/text-phone`, and optionally experts' scores in `resource/scores.json`. Phones are the 39 of ARPAbet, without
position suffixes (`_B`, `_I`, `_E`) and stress digits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.arpabet import PHONEMES
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_fields import age_of, gender_of
from asr_lab.data.importers.speechocean762_scores import WRONG_BELOW, lacks_mispronunciations, read_scores, score_fields
from asr_lab.data.text_files import lines, read_text
from asr_lab.errors import AsrLabError, listing

PARTS = ("train", "test")
_PHONE = re.compile(r"([A-Z]+)[012]?(?:_[BIES])?")
_OLD_COPY = (
    f"an old copy of the scores, without `mispronunciations`: phones with a score below {WRONG_BELOW} count as errors "
    "with an unknown perceived phone"
)


@dataclass(frozen=True)
class _Part:
    """The Kaldi files of a part by name, as mappings of the first column to the second."""

    folder: Path
    tables: dict[str, dict[str, str]]


def import_speechocean762(
    source: Path,
    out: Path,
    *,
    scores: Path | None = None,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the existing parts, with `part`, `age`, `canonical`, and scores if available.

    `scores` is the file of the experts' scores, by default `resource/scores.json` if it exists. Raises one
    `AsrLabError` that names every fault.
    """
    folders = [source / part for part in PARTS if (source / part).is_dir()]
    if not folders:
        raise AsrLabError("neither train/ nor test/ is there", where=str(source), allowed="speechocean762's own folder")
    report = ImportReport()
    parts = [_read_part(folder, report, skip_faulty) for folder in folders]
    words = _canonical(source / "resource" / "text-phone", report)
    all_scores = read_scores(scores or source / "resource" / "scores.json", report, required=scores is not None)
    ids = [id for part in parts for id in part.tables["text"]]
    report.add_joined("phones", words, ids, file=source / "resource" / "text-phone")
    report.add_joined("scores", all_scores, ids, file=scores or source / "resource" / "scores.json")
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(ids))
    cuts: list[Cut] = []
    by_score = lacks_mispronunciations(all_scores)
    total = sum(len(part.tables["text"]) for part in parts)
    for part in parts:
        for id in sorted(part.tables["text"]):
            phones = words.get(id, [])
            try:
                custom: dict[str, Any] = {}
                if phones:
                    custom["canonical"] = [phone for word in phones for phone in word]
                    custom["canonical_words"] = [index for index, word in enumerate(phones) for _ in word]
                if (own := all_scores.get(id)) is not None:
                    custom |= score_fields(own, phones, report, by_score=by_score)
                cuts.append(_utterance(id, part, source, custom))
            except AsrLabError as error:
                report.add_error(id, error)
            progress(len(cuts), total)
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(cuts))
    if by_score:
        report.notes.append(_OLD_COPY)
    return ImportResult(splits={"all": cuts}, report=report)


def _read_part(folder: Path, report: ImportReport, skip_faulty: bool) -> _Part:
    """Read the files of a part; utterances that other files lack are faults of those, or one by one if left out."""
    names = ("wav.scp", "text", "utt2spk", "spk2age", "spk2gender")
    if (folder / "segments").is_file():
        raise AsrLabError(
            "segments names pieces of files, and speechocean762 has whole ones",
            where=str(folder / "segments"),
            next_command=f"asr-lab data import kaldi {folder} OUT --audio {folder.parent}",
        )
    tables = {name: _two_columns(folder / name, report) for name in names}
    needed = {"wav.scp": tables["text"], "utt2spk": tables["text"]}
    needed |= dict.fromkeys(("spk2age", "spk2gender"), dict.fromkeys(tables["utt2spk"].values(), ""))
    for name, keys in needed.items():
        if not skip_faulty and (lacking := sorted(set(keys) - set(tables[name]))):
            what = "utterances" if keys is tables["text"] else "speakers"
            report.add(name, f"{what} are missing", f"{len(lacking)}: {listing(lacking, 5)}", file=folder / name)
    return _Part(folder, tables)


def _two_columns(path: Path, report: ImportReport) -> dict[str, str]:
    """Read `key value` lines."""
    if not path.is_file():
        report.add(path.name, "the file is missing", file=path)
        return {}
    rows: dict[str, str] = {}
    for number, line in enumerate(lines(read_text(path)), start=1):
        if not line.strip():
            continue
        key, *value = line.split(maxsplit=1)
        if not value:
            report.add(key, "one column, two are needed", file=path, line=number)
        elif key in rows:
            report.add(key, "a second time", file=path, line=number)
        else:
            rows[key] = value[0].strip()
    return rows


def _canonical(path: Path, report: ImportReport) -> dict[str, list[list[str]]]:
    """Return utterance id -> phones of each word, from keys `id.word`; {} without a file."""
    if not path.is_file():
        return {}
    by_id: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for key, phones in _two_columns(path, report).items():
        id, _, word = key.rpartition(".")
        named = [_PHONE.fullmatch(phone) for phone in phones.split()]
        if not word.isdigit() or not all(named):
            report.add(key, "not the phones of a word", phones, file=path)
            continue
        if illegal := [match[1] for match in named if match and match[1] not in PHONEMES]:
            report.add(key, "not a phone", listing(illegal), file=path)
        by_id[id][int(word)] = [match[1] for match in named if match]
    return {id: [words[index] for index in sorted(words)] for id, words in by_id.items()}


def _utterance(id: str, part: _Part, source: Path, custom: dict[str, Any]) -> Cut:
    tables = part.tables
    speaker = tables["utt2spk"].get(id, "")
    for name, key in {"wav.scp": id, "utt2spk": id, "spk2age": speaker, "spk2gender": speaker}.items():
        if key not in tables[name]:
            raise AsrLabError(f"it is not in {name}: {key}", where=str(part.folder / name))
    age, gender = tables["spk2age"][speaker], tables["spk2gender"][speaker]
    ages = age_of(age)
    if not {"age", "age_group"} & set(ages) or not gender_of(gender):
        raise AsrLabError(f"unknown age or gender: {age!r} and {gender!r} of speaker {speaker}")
    return manifest.utterance(
        id=id,
        audio=source / tables["wav.scp"][id],
        text=tables["text"][id],
        speaker=speaker,
        gender=gender_of(gender),
        language="en",
        corpus="speechocean762",
        **ages,
        l1="mandarin",
        part=part.folder.name,
        **custom,
    )
