"""Page about a split: the speakers of each part, and the distributions of the parts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from asr_lab.reports.fonts import figure_text, fitted
from asr_lab.reports.page import render
from asr_lab.reports.table import Table

_NAMES = {"age": "age, years", "age_group": "age group, years", "snr_db": "SNR, dB", "duration_s": "duration, s"}


def splits_figure(table: pd.DataFrame) -> Figure:
    """Plot one panel per field: the share of hours of each bin in each part (`data.split_statistics.distributions`)."""
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
        axes.set_xticks(range(len(rows)), list(map(figure_text, rows["bin"])), rotation=40, ha="right", fontsize=8)
        axes.set_title(figure_text(_NAMES.get(field, field)), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of the part's hours, %")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=max(len(parts), 1), fontsize=8, frameon=False)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    fitted(figure).savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def splits_page(
    title: str,
    sentences: Sequence[str],
    *,
    sizes: Table,
    overlap: Table,
    distributions: Table,
    members: Mapping[str, Sequence[str]],
    figure: bytes,
) -> str:
    """Render one HTML file that loads nothing: `sentences`, then sizes, overlap, distributions and speakers.

    `members` maps a part to its speakers (or values of another field); `figure` is a PNG.
    """
    return render(
        "splits",
        title=title,
        sentences=sentences,
        figure=base64.b64encode(figure).decode(),
        tables={
            name: _with_spaces(each).html()
            for name, each in (("sizes", sizes), ("overlap", overlap), ("distributions", distributions))
        },
        members=members,
    )


def _with_spaces(table: Table) -> Table:
    return replace(table, headings={name: name.replace("_", " ") for name in map(str, table.frame.columns)})
