"""speechocean762 (Zhang et al. 2021, arXiv:2104.01378): 5,000 English utterances, 250 Mandarin speakers, half children.

Kaldi files in `train/` and `test/` (`wav.scp text utt2spk spk2age spk2gender`), canonical phones of each word in
`resource/text-phone`, experts' scores in `resource/scores.json` where the user has them. Phones are the 39 of ARPAbet:
position suffixes (`_B`, `_I`, `_E`) and stress digits are dropped.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.pronunciation import DELETED, UNKNOWN
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


def import_speechocean(source: Path, *, scores: Path | None = None, progress: Progress | None = None) -> list[Cut]:
    """Utterances of the parts there are, with `part`, `age`, `canonical`, and scores where there are some.

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
    judged = _scores(scores or source / "resource" / "scores.json", faults, needed=scores is not None)
    _refuse(faults, source)
    cuts: list[Cut] = []
    total = sum(len(part.tables["text"]) for part in parts)
    for part in parts:
        for id in sorted(part.tables["text"]):
            try:
                cuts.append(_utterance(id, part, source, words, judged.get(id)))
            except AsrLabError as error:
                faults.append(f"{id}: {error.what}" + (f" ({error.where})" if error.where else ""))
            if progress:
                progress(len(cuts), total)
    _refuse(faults, source)
    return cuts


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
        by_id[id][int(word)] = [match[1] for match in named if match]
    return {id: [words[index] for index in sorted(words)] for id, words in by_id.items()}


def _scores(path: Path, faults: list[str], *, needed: bool) -> dict[str, Any]:
    if not path.is_file():
        if needed:
            faults.append(f"{path} is missing")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        content = error
    if not isinstance(content, dict):
        faults.append(f"{path} is not a JSON object: {content if isinstance(content, ValueError) else type(content)}")
        return {}
    return content


def _utterance(id: str, part: _Part, source: Path, words: dict[str, list[list[str]]], judged: Any) -> Cut:
    tables = part.tables
    speaker = tables["utt2spk"][id]
    age, gender = tables["spk2age"][speaker], tables["spk2gender"][speaker]
    if not age.isdigit() or gender not in _GENDERS:
        raise AsrLabError(f"speaker {speaker} has the age {age!r} and the gender {gender!r}")
    spoken = words.get(id, [])
    custom: dict[str, Any] = {}
    if spoken:
        custom["canonical"] = [phone for word in spoken for phone in word]
        custom["canonical_words"] = [index for index, word in enumerate(spoken) for _ in word]
    if judged is not None:
        custom |= _judgement(judged, spoken)
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


def _judgement(judged: dict[str, Any], spoken: list[list[str]]) -> dict[str, Any]:
    """`scores` of sentence, words and phones, and what was heard: `perceived`, `errors`.

    An entry under `mispronunciations` is an error; `AH*` ("close to AH") counts as AH. A word that was not read has
    accuracy 0 and no such entries: its phones are `<del>`.
    """
    try:
        rows = judged["words"]
        phones = [[_bare(phone) for phone in row["phones"]] for row in rows]
        if spoken and phones != spoken:
            raise AsrLabError(f"the scores are of other phones than resource/text-phone: {phones} and {spoken}")
        perceived, errors = [], []
        for row, word in zip(rows, phones, strict=True):
            entries = row.get("mispronunciations", [])
            heard = {int(entry["index"]): _heard(entry["pronounced-phone"]) for entry in entries}
            unread = float(row["accuracy"]) == 0 and not heard
            perceived += [DELETED if unread else heard.get(index, phone) for index, phone in enumerate(word)]
            errors += [int(unread or index in heard) for index in range(len(word))]
        sentence = {name: judged[name] for name in ("accuracy", "completeness", "fluency", "prosodic", "total")}
        of_words = {name: [row[name] for row in rows] for name in ("accuracy", "stress", "total")}
        of_phones = [score for row in rows for score in row["phones-accuracy"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AsrLabError(f"its scores are not as speechocean762 writes them: {error!r}") from error
    if len(of_phones) != len(perceived):
        raise AsrLabError(f"{len(of_phones)} phone scores for {len(perceived)} phones")
    scores = {"sentence": sentence, "words": of_words, "phones": of_phones}
    return {"scores": scores, "perceived": perceived, "errors": errors}


def _bare(phone: str) -> str:
    match = _PHONE.fullmatch(phone)
    if match is None:
        raise AsrLabError(f"not a phone: {phone!r}")
    return match[1]


def _heard(phone: str) -> str:
    phone = phone.removesuffix("*")
    if phone.lower() in (DELETED, UNKNOWN):
        return phone.lower()
    return _bare(phone.upper())
