"""The experts' scores of speechocean762: `scores.json`, and the perceived phones.

Each utterance has words with `phones`, `phones-accuracy` (0-2, means of five experts), `accuracy` (0-10), and, where
phones were mispronounced, `mispronunciations`. A perceived label of two phones (`EH R` for ER) is a phone, and another
one inserted after it; one that is no phone (`IR`, `AR`, `TR`, ... of copies before July 2024) is `<unk>`, and counted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from asr_lab.data.arpabet import PHONEMES, phoneme_of
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.pronunciation import DELETED, UNKNOWN
from asr_lab.errors import AsrLabError

WRONG_BELOW = 0.5
"""Score below which a phone counts as mispronounced: 3,403 phones, as many as entries under `mispronunciations`."""
_PHONE = re.compile(r"([A-Z]+)[012]?")


class _Label(NamedTuple):
    """What was perceived of one canonical phone."""

    perceived: str
    error: int = 0
    accented: int = 0
    inserted: tuple[str, ...] = ()
    """The phones perceived after it."""


def read_scores(path: Path, report: ImportReport, *, required: bool) -> dict[str, Any]:
    """Return the scores by utterance; {} without a file, which is a fault if `required`."""
    if not path.is_file():
        if required:
            report.add(path.name, "the file is missing", file=path)
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        content = error
    if not isinstance(content, dict):
        given = str(content) if isinstance(content, ValueError) else type(content).__name__
        report.add(path.name, "not a JSON object", given, file=path)
        return {}
    return content


def lacks_mispronunciations(scores: dict[str, Any]) -> bool:
    """Return whether the file is a copy without `mispronunciations`, so that their absence says nothing.

    It is one if no word has them, though some phone's score is that of a mispronounced one.
    """
    words = [row for scored in scores.values() if isinstance(scored, dict) for row in scored.get("words") or ()]
    if any(not isinstance(row, dict) or "mispronunciations" in row for row in words):
        return False
    try:
        return any(min(map(float, row["phones-accuracy"]), default=2) < WRONG_BELOW for row in words)
    except (KeyError, TypeError, ValueError):
        return False  # refused where it is read


def score_fields(
    scored: dict[str, Any], canonical: list[list[str]], report: ImportReport, *, by_score: bool = False
) -> dict[str, Any]:
    """Return `scores` of sentence, words and phones, and `perceived`, `errors`, `accented`, `insertions` if any.

    An entry under `mispronunciations` is an error; `AH*` is an accented AH. Phones of a word with accuracy 0 and no
    entries, which was not read, are `<del>`. `by_score`: phones below `WRONG_BELOW` are errors, for a file that lacks
    entries.
    """
    try:
        rows = scored["words"]
        phones = [[_bare(phone) for phone in row["phones"]] for row in rows]
        if canonical and phones != canonical:
            raise AsrLabError(f"the scores are of other phones than resource/text-phone: {phones} and {canonical}")
        labels = [
            label
            for row, word in zip(rows, phones, strict=True)
            for label in _phone_labels(row, word, report, by_score)
        ]
        sentence = {name: scored[name] for name in ("accuracy", "completeness", "fluency", "prosodic", "total")}
        of_words = {name: [row[name] for row in rows] for name in ("accuracy", "stress", "total")}
        of_phones = [score for row in rows for score in row["phones-accuracy"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AsrLabError(f"its scores are not as speechocean762 writes them: {error!r}") from error
    if len(of_phones) != len(labels):
        raise AsrLabError(f"not as many scores as phones: {len(of_phones)} and {len(labels)}")
    insertions = [[], *(list(label.inserted) for label in labels)]
    return {
        "canonical": [phone for word in phones for phone in word],
        "canonical_words": [index for index, word in enumerate(phones) for _ in word],
        "perceived": [label.perceived for label in labels],
        "errors": [label.error for label in labels],
        "accented": [label.accented for label in labels],
        **({"insertions": insertions} if any(insertions) else {}),
        "scores": {"sentence": sentence, "words": of_words, "phones": of_phones},
    }


def _phone_labels(row: dict[str, Any], word: list[str], report: ImportReport, by_score: bool) -> list[_Label]:
    """Return the label of each phone of a word."""
    entries = {int(entry["index"]): str(entry["pronounced-phone"]) for entry in row.get("mispronunciations") or []}
    if strange := [index for index in entries if not 0 <= index < len(word)]:
        raise ValueError(f"a mispronunciation of phone {strange[0]} of {len(word)}")
    if float(row["accuracy"]) == 0 and not entries:
        return [_Label(DELETED, error=1)] * len(word)
    if by_score:
        low = [float(score) < WRONG_BELOW for score in row["phones-accuracy"]]
        return [_Label(UNKNOWN, error=1) if wrong else _Label(phone) for phone, wrong in zip(word, low, strict=True)]
    return [
        _perceived(entries[index], report) if index in entries else _Label(phone) for index, phone in enumerate(word)
    ]


def _bare(phone: str) -> str:
    match = _PHONE.fullmatch(phone)
    if match is None or match[1] not in PHONEMES:
        raise AsrLabError(f"not a phone: {phone!r}")
    return match[1]


def _perceived(label: str, report: ImportReport) -> _Label:
    """Return a mispronounced phone as `<del>`, `<unk>`, or the first of its phones, the others inserted after it."""
    accented = int(label.endswith("*"))
    if label.lower() in (DELETED, UNKNOWN):
        return _Label(label.lower(), error=1)
    phones = [phoneme_of(part) for part in label.split()]
    known = [phone for phone in phones if phone is not None]
    if not phones or len(known) < len(phones):
        report.unknown_labels[label] += 1
        return _Label(UNKNOWN, error=1, accented=accented)
    return _Label(known[0], error=1, accented=accented, inserted=tuple(known[1:]))
