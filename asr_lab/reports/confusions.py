"""Canonical and recognised phonemes aligned, and the confusions of a learner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from asr_lab.data.pronunciation import DELETED
from asr_lab.metrics.pronunciation.sequences import align

_MOST_WORDS = 4


def lined_up(row: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Return the canonical phonemes of an utterance of a `scored` table in order, with insertions between them.

    Each has `kind` (equal, substitute, delete, insert: the recognised phoneme against the canonical one), `canonical`,
    `recognised` and `word` (its number); a canonical one also `points`, `flag`, `diagnosis` and, with an annotation,
    `error` and `perceived`.
    """
    cells: list[dict[str, Any]] = []
    words = list(row.get("words", ())) or [0] * len(row["canonical"])
    place = 0
    for canonical, recognised in align(list(row["canonical"]), list(row["recognised"])):
        if canonical is None:
            near = words[max(0, place - 1)] if words else 0
            cells.append({"kind": "insert", "canonical": "", "recognised": recognised, "word": int(near)})
            continue
        kind = "delete" if recognised is None else "equal" if recognised == canonical else "substitute"
        cell = {"kind": kind, "canonical": canonical, "recognised": recognised or "", "word": int(words[place])}
        cell |= {"points": round(row["phone_points"][place]), "flag": int(row["flags"][place])}
        cell["diagnosis"] = _diagnosis(row, place, canonical, recognised or DELETED)
        if "errors" in row and "perceived" in row:
            cell |= {"error": int(row["errors"][place]), "perceived": str(row["perceived"][place])}
        cells.append(cell)
        place += 1
    return cells


def _diagnosis(row: Mapping[Any, Any], place: int, canonical: str, recognised: str) -> str:
    """Return the model's diagnosis of a phoneme, else the recognised phoneme; "" if both are the canonical one."""
    diagnosis = str(row["diagnosis"][place]) if "diagnosis" in row else canonical
    return next((one for one in (diagnosis, recognised) if one != canonical), "")


def spelled(row: Mapping[Any, Any]) -> dict[int, str]:
    """Map the number of each word to its spelling; empty if the text has another number of words."""
    numbers = list(dict.fromkeys(int(one) for one in row.get("words", ())))
    texts = str(row.get("text", "")).split()
    return dict(zip(numbers, texts, strict=True)) if len(numbers) == len(texts) else {}


def confusions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the confusions of a `scored` table, the most frequent first: `canonical, produced, times, of, words`.

    `produced` is the diagnosis of a flagged phoneme: "" if unknown, `<del>` for a deletion. An inserted phoneme has a
    `canonical` of "" and counts if it was recognised at least twice. `of` counts the canonical phoneme; `words` are up
    to four examples.
    """
    times: Counter[tuple[str, str]] = Counter()
    canonical_counts: Counter[str] = Counter()
    words: dict[tuple[str, str], list[str]] = {}
    for row in table.to_dict("records"):
        texts = spelled(row)
        for cell in lined_up(row):
            canonical_counts[cell["canonical"]] += 1
            if cell["kind"] == "insert":
                key = ("", str(cell["recognised"]))
            elif cell["flag"]:
                key = (str(cell["canonical"]), str(cell["diagnosis"]))
            else:
                continue
            times[key] += 1
            words.setdefault(key, []).append(texts.get(cell["word"], ""))
    rows = [
        {
            "canonical": canonical,
            "produced": produced,
            "times": number,
            "of": canonical_counts[canonical] if canonical else 0,
            "words": [word for word in dict.fromkeys(words[canonical, produced]) if word][:_MOST_WORDS],
        }
        for (canonical, produced), number in times.items()
        if canonical or number > 1
    ]
    frame = pd.DataFrame(rows, columns=["canonical", "produced", "times", "of", "words"])
    return frame.sort_values(["times", "canonical", "produced"], ascending=[False, True, True], ignore_index=True)
