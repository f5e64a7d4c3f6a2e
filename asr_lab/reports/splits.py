"""A page that proves a split: who is in which part, and how alike the parts are."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from asr_lab.reports.numbers import number
from asr_lab.reports.page import page

_NAMES = {"age": "age, years", "snr_db": "SNR, dB", "duration_s": "duration, s"}


def splits_figure(table: pd.DataFrame) -> Figure:
    """A panel a field: the share of hours of each bin in each part (`distribution.distributions`), side by side."""
    fields = list(dict.fromkeys(table["field"]))
    parts = [name for name in table.columns if name.endswith("_share")]
    figure = Figure(figsize=(4.4 * max(len(fields), 1), 3.6), layout="constrained")
    panels = figure.subplots(1, max(len(fields), 1), squeeze=False)[0]
    for axes, field in zip(panels, fields, strict=False):
        rows = table[table["field"] == field]
        width = 0.8 / len(parts)
        for place, part in enumerate(parts):
            at = [bin + (place - (len(parts) - 1) / 2) * width for bin in range(len(rows))]
            axes.bar(at, rows[part] * 100, width, color=f"C{place}", label=part.removesuffix("_share"))
        axes.set_xticks(range(len(rows)), list(rows["bin"]), rotation=40, ha="right", fontsize=8)
        axes.set_title(_NAMES.get(field, field), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of the part's hours, %")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=max(len(parts), 1), fontsize=8, frameon=False)
    return figure


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def splits_page(
    title: str,
    sentences: Sequence[str],
    *,
    sizes: pd.DataFrame,
    overlap: pd.DataFrame,
    distributions: pd.DataFrame,
    members: Mapping[str, Sequence[str]],
    figure: bytes,
) -> str:
    """One HTML file that loads nothing: `sentences` on top, then sizes, overlap, distributions and who is where.

    `members` is part -> its speakers (or values of another field); `figure` a PNG.
    """
    lists = "".join(
        f"<details><summary>{escape(name)}: {len(values)}</summary><p>{escape(', '.join(values))}</p></details>"
        for name, values in members.items()
    )
    return page(
        "splits",
        title=escape(title),
        sentences="".join(f"<li>{escape(sentence)}" for sentence in sentences),
        figure=base64.b64encode(figure).decode(),
        sizes=_table(sizes),
        overlap=_table(overlap),
        distributions=_table(distributions),
        members=lists,
    )


def _table(table: pd.DataFrame) -> str:
    figures = [bool(pd.api.types.is_numeric_dtype(table[name])) for name in table.columns]
    head = "".join(f"<th{' class=n' if figure else ''}>{escape(str(name).replace('_', ' '))}"
                   for name, figure in zip(table.columns, figures, strict=True))  # fmt: skip
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if figure else ''}>{escape(number(str(name), value))}"
            for name, figure, value in zip(table.columns, figures, row, strict=True)
        )
        for row in table.itertuples(index=False)
    )
    return f"<table><tr>{head}</tr>{rows}</table>"
