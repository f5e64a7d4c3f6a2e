"""One page that shows, utterance by utterance, what was said and what was recognised, to be searched and filtered.

It is a single file that loads nothing. Audio is in it only where asked: voices are private.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from asr_lab.data.bins import ordered
from asr_lab.metrics.error_rates import SCORER, alignment, cer, confusions, word_errors
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.slices import labels
from asr_lab.reports.page import page

_MOST_ROWS = 20_000
_MOST_CONFUSIONS = 30
_MOST_OPEN = 30  # slices that are shown unfolded


def alignment_page(
    table: pd.DataFrame,
    title: str,
    wer: Interval,
    *,
    slices: pd.DataFrame | None = None,
    audio: Mapping[str, str] | None = None,
    note: str = "",
) -> str:
    """HTML of a scored split (`recipes.common.score`): its figures, its `slices`, its confusions, each utterance.

    `audio` is utterance id -> data URI. Of more than 20,000 utterances the worst are shown.
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
    figures = (
        f"WER {wer.value:.1%} (95 % interval {wer.low:.1%} to {wer.high:.1%}), CER {cer(table):.1%}; "
        f"{len(table)} utterances, {int(table['words'].sum())} words; {SCORER}, corpus level."
    )
    return page(
        "alignment",
        title=escape(title),
        figures=escape(figures),
        note=escape(note),
        slices=_slices(slices) if slices is not None and len(slices) else "",
        confusions=_confusions(confusions(table)),
        data=json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"),
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


def _slices(slices: pd.DataFrame) -> str:
    """WER of each slice with its interval as a bar; one of few words is grey."""
    most = max(float(slices["high"].max()), 1e-9)
    rows = "".join(
        f"<tr{' class=few' if row.few else ''}><td>{escape(row.slice)}<td>{escape(row.value)}"
        f'<td class="n">{row.utterances}<td class="n">{row.wer:.1%}'
        f'<td><div class="rail" title="{row.low:.1%} to {row.high:.1%}">'
        f'<i style="left:{100 * row.low / most:.1f}%;width:{100 * (row.high - row.low) / most:.1f}%"></i>'
        f'<b style="left:{min(100 * row.wer / most, 99):.1f}%"></b></div><td class="n">{row.cer:.1%}</tr>'
        for row in slices.itertuples()
    )
    head = "<tr><th>slice<th>value<th class=n>utterances<th class=n>WER<th>95 % interval<th class=n>CER</tr>"
    return (
        f"<details{' open' if len(slices) <= _MOST_OPEN else ''}><summary>Slices</summary><table>{head}{rows}</table>"
        "<p>Grey: fewer than 50 words. Intervals resample utterances.</p></details>"
    )


def _confusions(found: pd.DataFrame) -> str:
    words = found[found["unit"] == "word"].head(_MOST_CONFUSIONS)
    rows = "".join(
        f'<tr class="{row.kind}"><td>{escape(row.reference) or "-"}<td>{escape(row.hypothesis) or "-"}'
        f'<td class="n">{row.count_}<td class="n">{row.share:.1%}</tr>'
        for row in words.rename(columns={"count": "count_"}).itertuples()
    )
    head = "<tr><th>said<th>recognised<th class=n>times<th class=n>of all errors</tr>"
    return f"<details><summary>What was taken for what</summary><table>{head}{rows}</table></details>" if rows else ""
