"""Page of a sweep: its results, figures and trials."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from asr_lab.reports.fonts import fitted
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
    title: str, sentences: Sequence[str], pictures: Mapping[str, str], table: pd.DataFrame, best: Sequence[int]
) -> str:
    """Render one HTML file that loads nothing: `sentences`, `pictures` (heading -> SVG), and one row per trial.

    `best` are the highlighted trials (column `trial`).
    """
    numbered = enumerate(pictures.items())
    return render(
        "sweep",
        title=title,
        sentences=sentences,
        pictures={heading: Markup(_own_ids(picture, place)) for place, (heading, picture) in numbered},
        table=Table(frame=table.set_index("trial", drop=False)).html(best_rows=set(best)),
    )


def _own_ids(picture: str, place: int) -> str:
    """Make the ids of a picture unique on its page, so that pictures do not share clip paths."""
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{place}-", picture)
