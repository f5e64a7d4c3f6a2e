"""Printing a table, and writing a text into a file."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from asr_lab.cli.options import console, echo
from asr_lab.reports.table import Table
from asr_lab.system.files import explain_unwritable, write_text
from asr_lab.system.visible_text import visible


def show(table: Table | pd.DataFrame, style: str) -> None:
    """Print a table as `table`, `json`, `csv`, `markdown` or `latex`; a DataFrame has no formats of its own."""
    made = table if isinstance(table, Table) else Table(frame=table)
    if style != "table":
        write(made.text(style))
        return
    out = console()
    if not out.is_terminal:
        click.echo(made.terminal(), nl=False)
        return
    shown, left_out = made.fitted(out.width, shorten=True)
    if shown.width(shorten=True) > out.width:
        click.echo(made.blocks(), nl=False)
        return
    bold = not out.is_dumb_terminal
    click.echo(shown.terminal(shorten=True, bold=bold), nl=False, color=bold)
    if left_out:
        echo(f"not shown in {out.width} columns: {', '.join(left_out)}", err=True)


def write(text: str, out: Path | None = None) -> None:
    """Print a text, or write it into a file, whole or not at all, and say where it is."""
    if not out:
        click.echo(visible(text).removesuffix("\n"))
        return
    with explain_unwritable("it", out, hint=""):
        write_text(out, text)
    echo(f"{out}: {len(text) / 1000:.0f} kB", err=True)
