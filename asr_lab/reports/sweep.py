"""The page of a sweep: what was found, its figures, and every trial."""

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
    """A figure as an SVG element for a page; its ids are its own."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):  # text as text: smaller, and it can be found and copied
        fitted(figure).savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


def sweep_page(
    title: str, sentences: Sequence[str], pictures: Mapping[str, str], table: pd.DataFrame, best: Sequence[int]
) -> str:
    """One HTML file that loads nothing: `sentences`, then `pictures` (heading -> SVG), then a row a trial.

    `best` are the trials (column `trial`) that stand out.
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
    """Pictures of one page must not share ids: the clip paths of one would be those of another."""
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{place}-", picture)
