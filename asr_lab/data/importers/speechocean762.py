"""speechocean762 (Zhang et al. 2021, arXiv:2104.01378): 5,000 English utterances, 250 Mandarin speakers, half children.

Kaldi files in `train/` and `test/` (`wav.scp text utt2spk spk2age spk2gender`), canonical phones of each word in
`resource/text-phone`, experts' scores in `resource/scores.json` where the user has them. Phones are the 39 of ARPAbet:
position suffixes (`_B`, `_I`, `_E`) and stress digits are dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.arpabet import PHONEMES
from asr_lab.data.importers.import_report import Telling
from asr_lab.data.importers.speechocean762_scores import WRONG_BELOW, judgement, read_scores, says_what_was_heard
from asr_lab.errors import AsrLabError, listing

PARTS = ("train", "test")
_PHONE = re.compile(r"([A-Z]+)[012]?(?:_[BIES])?")
_GENDERS = {"m": "male", "f": "female"}

Progress = Callable[[int, int], None]


@dataclass
class _Part:
    """The Kaldi files of a part: `utterances` by id, `speakers` by speaker; faults are gathered, then told at once."""

    folder: Path
    faults: list[str]
    tables: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self) -> None:
        for name in ("wav.scp", "text", "utt2spk", "spk2age", "spk2gender"):
            self.tables[name] = _two_columns(self.folder / name, self.faults)
        for name in ("wav.scp", "utt2spk"):
            lacking = sorted(set(self.tables["text"]) - set(self.tables[name]))
            if lacking:
                self.faults.append(f"{self.folder / name} lacks {len(lacking)} utterances: {listing(lacking, 5)}")
        for name in ("spk2age", "spk2gender"):
            lacking = sorted(set(self.tables["utt2spk"].values()) - set(self.tables[name]))
            if lacking:
                self.faults.append(f"{self.folder / name} lacks {len(lacking)} speakers: {listing(lacking, 5)}")


def import_speechocean(
    source: Path, *, scores: Path | None = None, progress: Progress | None = None
) -> tuple[list[Cut], list[str]]:
    """(Utterances, what is to be told) of the parts there are, with `part`, `age`, `canonical`, and scores if any.

    `scores` is the file of the experts' scores; by default `resource/scores.json` if it is there. Raises one
    `AsrLabError` that names every fault of the files.
    """
    folders = [source / part for part in PARTS if (source / part).is_dir()]
    if not folders:
        raise AsrLabError("neither train/ nor test/ is there", where=str(source), allowed="speechocean762's own folder")
    faults: list[str] = []
    parts = [_Part(folder, faults) for folder in folders]
    for part in parts:
        part.read()
    words = _canonical(source / "resource" / "text-phone", faults)
    judged = read_scores(scores or source / "resource" / "scores.json", faults, needed=scores is not None)
    _refuse(faults, source)
    cuts: list[Cut] = []
    told, by_score = Telling(), not says_what_was_heard(judged)
    total = sum(len(part.tables["text"]) for part in parts)
    for part in parts:
        for id in sorted(part.tables["text"]):
            try:
                cuts.append(_utterance(id, part, source, words, judged.get(id), told, by_score))
            except AsrLabError as error:
                faults.append(f"{id}: {error.what}" + (f" ({error.where})" if error.where else ""))
            if progress:
                progress(len(cuts), total)
    _refuse(faults, source)
    notes = [_OLD_COPY] if judged and by_score else []
    return cuts, told.lines() + notes


_OLD_COPY = (
    f"an old copy of the scores, without `mispronunciations`: phones with a score below {WRONG_BELOW} are taken for "
    "wrong, and what was said in their place is not known"
)


def _refuse(faults: list[str], source: Path) -> None:
    if faults:
        raise AsrLabError(
            f"{len(faults)} faults, nothing was imported:\n    " + "\n    ".join(faults[:20]), where=str(source)
        )


def _two_columns(path: Path, faults: list[str]) -> dict[str, str]:
    """`key value` lines."""
    if not path.is_file():
        faults.append(f"{path} is missing")
        return {}
    rows: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        key, *value = line.split(maxsplit=1)
        if not value:
            faults.append(f"{path}, line {number}: one column, two are needed: {line.strip()!r}")
        elif key in rows:
            faults.append(f"{path}, line {number}: {key} a second time")
        else:
            rows[key] = value[0].strip()
    return rows


def _canonical(path: Path, faults: list[str]) -> dict[str, list[list[str]]]:
    """Utterance id -> the phones of each word; the file's keys are `id.word`. Empty where there is no file."""
    if not path.is_file():
        return {}
    by_id: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for key, phones in _two_columns(path, faults).items():
        id, _, word = key.rpartition(".")
        named = [_PHONE.fullmatch(phone) for phone in phones.split()]
        if not word.isdigit() or not all(named):
            faults.append(f"{path}: not the phones of a word: {key} {phones}")
            continue
        if illegal := [match[1] for match in named if match and match[1] not in PHONEMES]:
            faults.append(f"{path}: not a phone: {listing(illegal)} of {key}")
        by_id[id][int(word)] = [match[1] for match in named if match]
    return {id: [words[index] for index in sorted(words)] for id, words in by_id.items()}


def _utterance(
    id: str, part: _Part, source: Path, words: dict[str, list[list[str]]], judged: Any, told: Telling, by_score: bool
) -> Cut:
    tables = part.tables
    speaker = tables["utt2spk"][id]
    age, gender = tables["spk2age"][speaker], tables["spk2gender"][speaker]
    if not age.isdigit() or gender not in _GENDERS:
        raise AsrLabError(f"speaker {speaker} has the age {age!r} and the gender {gender!r}")
    spoken = words.get(id, [])
    found = judgement(judged, spoken, told, by_score=by_score) if judged is not None else {}
    custom: dict[str, Any] = {}
    if spoken:
        custom["canonical"] = [phone for word in spoken for phone in word]
        custom["canonical_words"] = [index for index, word in enumerate(spoken) for _ in word]
    custom |= found
    return manifest.utterance(
        id=id,
        audio=source / tables["wav.scp"][id],
        text=tables["text"][id],
        speaker=speaker,
        gender=_GENDERS[gender],
        language="en",
        corpus="speechocean762",
        age=int(age),
        l1="mandarin",
        part=part.folder.name,
        **custom,
    )
