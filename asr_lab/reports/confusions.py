"""What a learner says instead of what is written: phoneme by phoneme, and what is confused most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from asr_lab.data.pronunciation import DELETED
from asr_lab.metrics.pronunciation.sequences import align

_MOST_WORDS = 4


def lined_up(row: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """The phonemes of an utterance of a `scored` table in order, and between them those that were heard in addition.

    Each has `kind` (equal, substitute, delete, insert: what was heard beside what was written), `written`, `heard`,
    `word` (its number); a written one also `points`, `flag`, `diagnosis` and, where known, `error` and `said`.
    """
    found: list[dict[str, Any]] = []
    words = list(row.get("words", ())) or [0] * len(row["canonical"])
    place = 0
    for written, heard in align(list(row["canonical"]), list(row["recognised"])):
        if written is None:
            near = words[max(0, place - 1)] if words else 0
            found.append({"kind": "insert", "written": "", "heard": heard, "word": int(near)})
            continue
        kind = "delete" if heard is None else "equal" if heard == written else "substitute"
        cell = {"kind": kind, "written": written, "heard": heard or "", "word": int(words[place])}
        cell |= {"points": round(row["phone_points"][place]), "flag": int(row["flags"][place])}
        cell["diagnosis"] = _diagnosis(row, place, written, heard or DELETED)
        if "errors" in row and "perceived" in row:
            cell |= {"error": int(row["errors"][place]), "said": str(row["perceived"][place])}
        found.append(cell)
        place += 1
    return found


def _diagnosis(row: Mapping[Any, Any], place: int, written: str, heard: str) -> str:
    """What was said instead of a flagged phoneme: the model's diagnosis, or what was heard; "" when neither knows."""
    told = str(row["diagnosis"][place]) if "diagnosis" in row else written
    return next((one for one in (told, heard) if one != written), "")


def spelled(row: Mapping[Any, Any]) -> dict[int, str]:
    """Number of a word -> its spelling, where the text has as many words as the phonemes belong to."""
    numbers = list(dict.fromkeys(int(one) for one in row.get("words", ())))
    texts = str(row.get("text", "")).split()
    return dict(zip(numbers, texts, strict=True)) if len(numbers) == len(texts) else {}


def confusions(table: pd.DataFrame) -> pd.DataFrame:
    """What is confused with what, the most frequent first: `canonical, said, times, of, words`.

    Of a `scored` table. A flagged phoneme is taken for its diagnosis; `said` is "" where that is not known, `<del>`
    where it was left out. Phonemes that were added have a `canonical` of "" and count when heard at least twice. `of`
    is how often the phoneme is written at all, `words` are some in which it happened.
    """
    times: Counter[tuple[str, str]] = Counter()
    written: Counter[str] = Counter()
    words: dict[tuple[str, str], list[str]] = {}
    for row in table.to_dict("records"):
        texts = spelled(row)
        for cell in lined_up(row):
            written[cell["written"]] += 1
            if cell["kind"] == "insert":
                key = ("", str(cell["heard"]))
            elif cell["flag"]:
                key = (str(cell["written"]), str(cell["diagnosis"]))
            else:
                continue
            times[key] += 1
            words.setdefault(key, []).append(texts.get(cell["word"], ""))
    rows = [
        {
            "canonical": canonical,
            "said": said,
            "times": number,
            "of": written[canonical] if canonical else 0,
            "words": [word for word in dict.fromkeys(words[canonical, said]) if word][:_MOST_WORDS],
        }
        for (canonical, said), number in times.items()
        if canonical or number > 1
    ]
    found = pd.DataFrame(rows, columns=["canonical", "said", "times", "of", "words"])
    return found.sort_values(["times", "canonical", "said"], ascending=[False, True, True], ignore_index=True)
