"""Page of a sweep: its results, figures and trials."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from asr_lab.metrics.catalog import Direction, format_of
from asr_lab.reports.fonts import fitted
from asr_lab.reports.numbers import json_value
from asr_lab.reports.page import render
from asr_lab.reports.table import Table


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):  # text instead of paths: smaller, searchable
        fitted(figure).savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


def sweep_page(
    title: str,
    sentences: Sequence[str],
    pictures: Mapping[str, str],
    table: pd.DataFrame,
    best: Sequence[int],
    axes: Mapping[str, Direction] | None = None,
) -> str:
    """Render one HTML file that loads nothing: `sentences`, `pictures` (heading -> SVG), and one row per trial.

    `best` are the highlighted trials (column `trial`). `axes`, column -> its direction, are those of the parallel
    coordinates of the finished trials.
    """
    numbered = enumerate(pictures.items())
    return render(
        "sweep",
        title=title,
        sentences=sentences,
        pictures={heading: Markup(_own_ids(picture, place)) for place, (heading, picture) in numbered},
        data=_trials(table, axes or {}),
        table=Table(frame=table.set_index("trial", drop=False)).html(best_rows=set(best)),
    )


def _trials(table: pd.DataFrame, axes: Mapping[str, Direction]) -> dict[str, Any]:
    """Return the columns and rows of the parallel coordinates, best first."""
    columns = [{"name": name, "better": better, "format": format_of(name)} for name, better in axes.items()]
    finished = table[table["state"] == "finished"].to_dict("records") if axes else []
    rows = [
        {"id": str(row["trial"]), "label": f"trial {row['trial']}", "values": [json_value(row[name]) for name in axes]}
        for row in finished
    ]
    return {"columns": columns, "rows": rows}


def _own_ids(picture: str, place: int) -> str:
    """Make the ids of a picture unique on its page, so that pictures do not share clip paths."""
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{place}-", picture)
