"""One page for a learner: what to work on, and each utterance with its phonemes, what was heard, and scores of 0-100.

It is a single file that loads nothing. Audio is in it only where given: voices are private.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from asr_lab.data.pronunciation import DELETED
from asr_lab.metrics.pronunciation import SCORER, Calibration, detection, overall, scored
from asr_lab.reports.confusions import confusions, lined_up, spelled
from asr_lab.reports.page import render
from asr_lab.reports.pronunciation_advice import advice, sound

_MOST_CONFUSIONS = 12


def learner_page(
    table: pd.DataFrame,
    calibration: Calibration,
    *,
    learner: str,
    model: str = "",
    audio: Mapping[str, str] | None = None,
    note: str = "",
) -> str:
    """HTML of a learner's utterances: a `metrics.pronunciation.flagged` table, one row each.

    Where `errors` and `perceived` are known, the model's flags are shown beside the truth. `audio` is utterance id ->
    data URI, `model` the name of what assessed.
    """
    told = scored(table, calibration)
    known = {"errors", "perceived"} <= set(told)
    rows = told.to_dict("records")
    content = {
        "rows": [_row(row) for row in rows],
        "audio": {str(id): uri for id, uri in (audio or {}).items() if id in set(told["id"])},
        "known": known,
        "ipa": {phoneme: made.ipa for phoneme in _phonemes(rows) if (made := sound(phoneme))},
    }
    return render(
        "learner",
        title=f"Pronunciation of {learner}",
        points=f"{overall(told):.0f}" if len(told) else "-",
        summary=_summary(told, model),
        meaning=f"{calibration.meaning} {_CALIBRATED.format(number=calibration.phonemes)} {note}".strip(),
        truth=_truth(told) if known else "",
        work=_work(told),
        sounds=_sounds(told),
        data=content,
    )


_CALIBRATED = (
    "The score of a word, an utterance and of all of it is the mean of its phonemes. "
    "Calibrated on {number:,} phonemes of the validation data."
)


def _summary(told: pd.DataFrame, model: str) -> str:
    number, flags = sum(map(len, told["canonical"])), sum(map(sum, told["flags"]))
    first = {str(value) for value in told["l1"]} if "l1" in told else set()
    parts = [f"{len(told)} utterances", f"{number:,} phonemes", f"{flags:,} of them flagged"]
    parts += [f"first language {first.pop().capitalize()}"] if len(first) == 1 else []
    return ", ".join(parts) + (f"; assessed by {model}" if model else "")


def _truth(told: pd.DataFrame) -> str:
    """How right the flags are, where that is known."""
    found = detection(told)
    if found["error_f1"] is None:
        return "Beside the annotation: none of these phonemes is marked as wrong there."
    shown = [
        f"{name} {found[key]:.0%}" if found[key] is not None else f"{name} undefined (nothing was flagged)"
        for name, key in (("precision", "error_precision"), ("recall", "error_recall"), ("F1", "error_f1"))
    ]
    return f"The flags beside the annotation (counting {SCORER}): {', '.join(shown)}."


def _phonemes(rows: Sequence[Mapping[Any, Any]]) -> set[str]:
    names = ("canonical", "recognised", "diagnosis", "perceived")
    return {str(one) for row in rows for name in names for one in row.get(name, ())}


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """An utterance as the page's script reads it: its words, and in each the phonemes in order."""
    words: list[dict[str, Any]] = []
    texts, points = spelled(row), row["word_points"]
    for cell in lined_up(row):
        place = cell.pop("word")
        if not words or place != words[-1]["place"]:
            own = round(points[len(words)]) if len(words) < len(points) else None
            words.append({"place": place, "text": texts.get(place, ""), "points": own, "phonemes": []})
        words[-1]["phonemes"].append(cell)
    return {
        "id": str(row["id"]),
        "text": str(row.get("text", "")),
        "points": round(row["points"]) if row["points"] == row["points"] else None,
        "flags": int(sum(row["flags"])),
        "words": words,
    }


def _named(phoneme: str) -> dict[str, str]:
    """A phoneme for the template's `named`; without IPA and example where none is known."""
    made = sound(phoneme)
    return {"phoneme": phoneme, "ipa": made.ipa if made else "", "as_in": made.as_in if made else ""}


def _work(told: pd.DataFrame) -> list[dict[str, Any]]:
    """The most frequent confusions with advice; `kind` is added, left out, said as (another) or unclear."""
    rows = []
    for row in confusions(told).head(_MOST_CONFUSIONS).to_dict("records"):
        canonical, said = str(row["canonical"]), str(row["said"])
        kind = "added" if not canonical else "left out" if said == DELETED else "said as" if said else "unclear"
        rows.append(
            {
                "kind": kind,
                "canonical": _named(canonical),
                "said": _named(said),
                "often": f"{row['times']} of {row['of']}" if row["of"] else str(row["times"]),
                "words": row["words"],
                "advice": advice(canonical, said),
            }
        )
    return rows


def _sounds(told: pd.DataFrame) -> list[dict[str, Any]]:
    """The score of each phoneme, the lowest first."""
    flat = told[["canonical", "phone_points", "flags"]].explode(["canonical", "phone_points", "flags"])
    flat = flat.astype({"phone_points": float, "flags": int})
    found = flat.groupby("canonical").agg(
        points=("phone_points", "mean"), flags=("flags", "sum"), times=("flags", "size")
    )
    return [
        {"sound": _named(str(phoneme)), "points": f"{row['points']:.0f}",
         "flagged": f"{row['flags']:.0f} of {row['times']:.0f}"}
        for phoneme, row in found.sort_values("points").iterrows()
    ]  # fmt: skip
