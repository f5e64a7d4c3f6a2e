"""A learner's page: what to practise, and each utterance with canonical and recognised phonemes and scores of 0-100.

It is a single file that loads nothing. It contains audio only on request: voices are private.
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
from asr_lab.units import counted

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
    """Render a learner's utterances, a `metrics.pronunciation.flagged` table, as HTML.

    With `errors` and `perceived`, the model's flags are compared with the annotation. `audio` maps utterance id to data
    URI; `model` is the name of the assessing model.
    """
    table = scored(table, calibration)
    known = {"errors", "perceived"} <= set(table)
    rows = table.to_dict("records")
    content = {
        "rows": [_row(row) for row in rows],
        "audio": {str(id): uri for id, uri in (audio or {}).items() if id in set(table["id"])},
        "known": known,
        "ipa": {phoneme: made.ipa for phoneme in _phonemes(rows) if (made := sound(phoneme))},
    }
    return render(
        "learner",
        title=f"Pronunciation of {learner}",
        points=f"{overall(table):.0f}" if len(table) else "-",
        summary=_summary(table, model),
        meaning=f"{calibration.meaning} {_CALIBRATED.format(number=calibration.phonemes)} {note}".strip(),
        truth=_truth(table) if known else "",
        work=_work(table),
        sounds=_sounds(table),
        data=content,
    )


_CALIBRATED = (
    "The scores of words, of utterances and of the learner are means over their phonemes. "
    "Calibrated on {number:,} phonemes of the validation data."
)


def _summary(table: pd.DataFrame, model: str) -> str:
    number, flags = sum(map(len, table["canonical"])), sum(map(sum, table["flags"]))
    first = {str(value) for value in table["l1"]} if "l1" in table else set()
    parts = [counted(len(table), "utterance"), f"{number:,} phonemes", f"{flags:,} of them flagged"]
    parts += [f"first language {first.pop().capitalize()}"] if len(first) == 1 else []
    return ", ".join(parts) + (f"; assessed by {model}" if model else "")


def _truth(table: pd.DataFrame) -> str:
    """Describe precision, recall and F1 of the flags against the annotation."""
    figures = detection(table)
    if figures["error_f1"] is None:
        return "The annotation marks none of these phonemes as mispronounced."
    shown = [
        f"{name} {figures[key]:.0%}" if figures[key] is not None else f"{name} undefined (nothing was flagged)"
        for name, key in (("precision", "error_precision"), ("recall", "error_recall"), ("F1", "error_f1"))
    ]
    return f"Flags compared with the annotation ({SCORER} counting): {', '.join(shown)}."


def _phonemes(rows: Sequence[Mapping[Any, Any]]) -> set[str]:
    names = ("canonical", "recognised", "diagnosis", "perceived")
    return {str(one) for row in rows for name in names for one in row.get(name, ())}


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return an utterance for the page's script: its words, each with its phonemes in order."""
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
    """Return a phoneme for the template's `named`; IPA and example are "" if unknown."""
    made = sound(phoneme)
    return {"phoneme": phoneme, "ipa": made.ipa if made else "", "as_in": made.as_in if made else ""}


def _kind(canonical: str, produced: str) -> str:
    if not canonical:
        return "added"
    return "left out" if produced == DELETED else "pronounced as" if produced else "unclear"


def _work(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the most frequent confusions with advice; `kind` is as in `_kind`."""
    rows = []
    for row in confusions(table).head(_MOST_CONFUSIONS).to_dict("records"):
        canonical, produced = str(row["canonical"]), str(row["produced"])
        rows.append(
            {
                "kind": _kind(canonical, produced),
                "canonical": _named(canonical),
                "produced": _named(produced),
                "often": f"{row['times']} of {row['of']}" if row["of"] else str(row["times"]),
                "words": row["words"],
                "advice": advice(canonical, produced),
            }
        )
    return rows


def _sounds(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the score of each phoneme, the lowest first."""
    flat = table[["canonical", "phone_points", "flags"]].explode(["canonical", "phone_points", "flags"])
    flat = flat.astype({"phone_points": float, "flags": int})
    sounds = flat.groupby("canonical").agg(
        points=("phone_points", "mean"), flags=("flags", "sum"), times=("flags", "size")
    )
    return [
        {"sound": _named(str(phoneme)), "points": f"{row['points']:.0f}",
         "flagged": f"{row['flags']:.0f} of {row['times']:.0f}"}
        for phoneme, row in sounds.sort_values("points").iterrows()
    ]  # fmt: skip
