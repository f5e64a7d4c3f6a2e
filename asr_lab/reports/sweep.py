"""The page of a sweep: what was found, its figures, and every trial."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from asr_lab.reports.numbers import number
from asr_lab.reports.page import page


def svg(figure: Figure) -> str:
    """A figure as an SVG element for a page; its ids are its own."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):  # text as text: smaller, and it can be found and copied
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


def sweep_page(
    title: str, sentences: Sequence[str], pictures: Mapping[str, str], table: pd.DataFrame, best: Sequence[int]
) -> str:
    """One HTML file that loads nothing: `sentences`, then `pictures` (heading -> SVG), then a row a trial.

    `best` are the trials (column `trial`) that stand out.
    """
    drawn = "".join(
        f"<h2>{escape(heading)}</h2><figure>{_own_ids(picture, place)}</figure>"
        for place, (heading, picture) in enumerate(pictures.items())
    )
    return page(
        "sweep",
        title=escape(title),
        sentences="".join(f"<li>{escape(sentence)}" for sentence in sentences),
        pictures=drawn,
        table=_table(table, set(best)),
    )


def _own_ids(picture: str, place: int) -> str:
    """Pictures of one page must not share ids: the clip paths of one would be those of another."""
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{place}-", picture)


def _table(table: pd.DataFrame, best: set[int]) -> str:
    figures = [bool(pd.api.types.is_numeric_dtype(table[name])) for name in table.columns]
    marks = [" class=n" if figure else "" for figure in figures]
    head = "".join(f"<th{mark}>{escape(str(name))}" for name, mark in zip(table.columns, marks, strict=True))
    rows = []
    for row in table.to_dict("records"):
        cells = (
            f"<td{mark}>{escape(number(str(name), value))}"
            for (name, value), mark in zip(row.items(), marks, strict=True)
        )
        rows.append(f"<tr{' class=best' if row['trial'] in best else ''}>{''.join(cells)}")
    return f"<table><tr>{head}{''.join(rows)}</table>"
