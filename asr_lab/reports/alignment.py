"""Page of references and hypotheses aligned, with search and filters.

It is a single file that loads nothing. It contains audio only on request: voices are private.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from asr_lab.data.bins import ordered
from asr_lab.metrics.error_rates import SCORER, alignment, cer, confusions, word_errors
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.slices import labels
from asr_lab.metrics.spacing import cer_no_space, wer_no_space, without_spaces
from asr_lab.reports.page import render
from asr_lab.units import counted

_MOST_ROWS = 20_000
_MOST_CONFUSIONS = 30


def alignment_page(
    table: pd.DataFrame,
    title: str,
    wer: Interval,
    *,
    slices: pd.DataFrame | None = None,
    audio: Mapping[str, str] | None = None,
    note: str = "",
) -> str:
    """Render a scored split (`recipes.recognition.scoring.score`): metrics, `slices`, confusions, each utterance.

    `audio` maps utterance id to data URI. Only the 20,000 worst utterances are shown.
    """
    rows = _worst(table)
    if len(rows) < len(table):
        note += f" The {len(rows):,} worst of {len(table):,} utterances are shown."
    by = labels(rows)
    content = {
        "slices": {name: ordered(values) for name, values in by.items()},
        "rows": [_row(row, by.loc[index].to_dict()) for index, row in rows.iterrows()],
        "audio": dict(audio or {}),
    }
    table = without_spaces(table)
    figures = (
        f"WER {wer.value:.1%} (95 % interval {wer.low:.1%} to {wer.high:.1%}), CER {cer(table):.1%}; "
        f"without spaces WER {wer_no_space(table):.1%}, CER {cer_no_space(table):.1%}; "
        f"{counted(len(table), 'utterance')}, {int(table['words'].sum())} words; {SCORER}, corpus level."
    )
    return render(
        "alignment",
        title=title,
        figures=figures,
        note=note,
        slices=_slices(slices) if slices is not None else [],
        confusions=_confusions(confusions(table)),
        data=content,
    )


def _worst(table: pd.DataFrame) -> pd.DataFrame:
    errors = word_errors(table)
    rated = table.assign(errors=errors, rate=errors / table["words"].clip(lower=1))
    return rated.sort_values(["rate", "errors", "id"], ascending=[False, False, True]).head(_MOST_ROWS)


def _row(row: pd.Series, by: Mapping[Any, str]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "words": alignment(str(row["reference"]), str(row["hypothesis"])),
        "errors": int(row["errors"]),
        "length": int(row["words"]),
        "seconds": float(row.get("duration_s", 0.0)),
        "slices": by,
    }


def _slices(slices: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the WER of each slice with its interval as a bar (percent of its width); one with few words is grey."""
    most = max(float(slices["high"].max()), 1e-9) if len(slices) else 1.0
    return [
        {
            "slice": row.slice,
            "value": row.value,
            "few": row.few,
            "utterances": row.utterances,
            "wer": f"{row.wer:.1%}",
            "interval": f"{row.low:.1%} to {row.high:.1%}",
            "left": f"{100 * row.low / most:.1f}",
            "width": f"{100 * (row.high - row.low) / most:.1f}",
            "at": f"{min(100 * row.wer / most, 99):.1f}",
            "cer": f"{row.cer:.1%}",
        }
        for row in slices.itertuples()
    ]


def _confusions(counts: pd.DataFrame) -> list[dict[str, Any]]:
    words = counts[counts["unit"] == "word"].head(_MOST_CONFUSIONS).rename(columns={"count": "times"})
    return [row | {"share": f"{row['share']:.1%}"} for row in words.to_dict("records")]
