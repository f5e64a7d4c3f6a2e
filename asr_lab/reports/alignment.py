"""One page that shows, utterance by utterance, what was said and what was recognised. No audio: voices are private."""

from __future__ import annotations

from html import escape

import pandas as pd

from asr_lab.metrics.error_rates import SCORER, alignment, cer, word_errors
from asr_lab.metrics.significance import Interval

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 1.3rem; margin-bottom: .2rem } p { color: #51606f; margin-top: 0 }
table { border-collapse: collapse; width: 100% } 
td, th { text-align: left; padding: .45rem .6rem; vertical-align: top }
tr { border-top: 1px solid #e4e9ee } th { color: #51606f; font-weight: 600; font-size: .85rem }
td.id { font: 12px ui-monospace, monospace; color: #51606f; white-space: nowrap } td.n { text-align: right }
span.w { display: inline-block; vertical-align: top; margin-right: .5rem; text-align: center }
span.w small { display: block; line-height: 1.2; font-size: .85rem }
.substitute { color: #a05a00 } .delete { color: #b3261e }
.insert { color: #6b3fa0 } .delete b { text-decoration: line-through; font-weight: 400 }
.substitute b, .insert b { font-weight: 600 }
"""
_MOST_ROWS = 1000


def alignment_page(table: pd.DataFrame, title: str, wer: Interval) -> str:
    """HTML of a scored split (`error_rates.score`): its figures, then each utterance aligned, worst first."""
    errors = word_errors(table)
    worst = table.assign(errors=errors, rate=errors / table["words"].clip(lower=1))
    worst = worst.sort_values(["rate", "errors", "id"], ascending=[False, False, True]).head(_MOST_ROWS)
    rows = "\n".join(_row(row) for row in worst.itertuples())
    note = f", the {_MOST_ROWS} worst shown" if len(table) > _MOST_ROWS else ""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>
<style>{_STYLE}</style><h1>{escape(title)}</h1>
<p>WER {wer.value:.1%} (95 % interval {wer.low:.1%} to {wer.high:.1%}), CER {cer(table):.1%};
{len(table)} utterances, {int(table["words"].sum())} words{note}; {escape(SCORER)}, corpus level.
<span class="substitute">substituted</span>, <span class="delete">left out</span>,
<span class="insert">added</span>.</p>
<table><tr><th>utterance<th>recognised, with what was said under it<th>errors<th>words</tr>
{rows}</table></html>
"""


def _row(row: object) -> str:
    words = "".join(
        _word(kind, said, heard)
        for kind, said, heard in alignment(str(row.reference), str(row.hypothesis))  # type: ignore[attr-defined]
    )
    return (
        f'<tr><td class="id">{escape(str(row.id))}<td>{words}'  # type: ignore[attr-defined]
        f'<td class="n">{row.errors}<td class="n">{row.words}</tr>'  # type: ignore[attr-defined]
    )


def _word(kind: str, said: str, heard: str) -> str:
    if kind == "equal":
        return f'<span class="w">{escape(heard)}</span>'
    if kind == "substitute":
        return f'<span class="w substitute"><b>{escape(heard)}</b><small>{escape(said)}</small></span>'
    if kind == "delete":
        return f'<span class="w delete"><b>{escape(said)}</b></span>'
    return f'<span class="w insert"><b>+{escape(heard)}</b></span>'
