"""Tables for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping

import click
import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from asr_lab.cli.options import console

_RATES = ("wer", "cer", "per", "share", "delta", "low", "high")


def show(table: pd.DataFrame, style: str, *, best: Mapping[str, str] | None = None) -> None:
    """Print a table as `table`, `json`, `csv`, `markdown` or `latex`; `best` (column -> run) is set in bold."""
    if style == "json":
        click.echo(table.to_json(orient="records", force_ascii=False, indent=2, date_format="iso"))
    elif style == "csv":
        click.echo(table.to_csv(index=False), nl=False)
    elif style == "table":
        console().print(_rich(table, best or {}))
    else:
        written = _written(table, best or {}, style)
        click.echo(_markdown(written) if style == "markdown" else _latex(written))


def number(column: str, value: object) -> str:
    """A cell as people read it: rates in percent, gaps as a dash."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    if not isinstance(value, float):
        return str(value)
    name = column.split("/")[-1].split("_by_")[0]
    if any(part in _RATES for part in name.split("_")):
        return f"{value:+.1%}" if "delta" in name else f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _is_best(row: pd.Series, column: str, best: Mapping[str, str]) -> bool:
    return column in best and best[column] == row["run"]


def _cell(row: pd.Series, column: str) -> str:
    """A cell of a row; the figure under `value` is of the metric that the row names."""
    return number(str(row["metric"]) if column == "value" and "metric" in row else column, row[column])


def _rich(table: pd.DataFrame, best: Mapping[str, str]) -> Table:
    rich = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        numeric = pd.api.types.is_numeric_dtype(table[column])
        rich.add_column(
            str(column),
            justify="right" if numeric else "left",
            no_wrap=column in ("run", "id", "value", "started"),
        )
    for _, row in table.iterrows():
        cells = []
        for column in table.columns:
            text = escape(_cell(row, str(column)))
            cells.append(f"[bold]{text}[/]" if _is_best(row, str(column), best) else text)
        rich.add_row(*cells)
    return rich


def _written(table: pd.DataFrame, best: Mapping[str, str], style: str) -> list[list[str]]:
    bold = "**{}**" if style == "markdown" else r"\textbf{{{}}}"
    rows = [[str(column) for column in table.columns]]
    for _, row in table.iterrows():
        cells = []
        for column in table.columns:
            text = _cell(row, str(column))
            text = _escape_latex(text) if style == "latex" else text.replace("|", r"\|")
            cells.append(bold.format(text) if _is_best(row, str(column), best) else text)
        rows.append(cells)
    if style == "latex":
        rows[0] = [_escape_latex(cell) for cell in rows[0]]
    return rows


def _markdown(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _latex(rows: list[list[str]]) -> str:
    body = [" & ".join(row) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
    return "\n".join([*parts, r"\end{tabular}"])


def _escape_latex(text: str) -> str:
    for sign in "&%_#$":
        text = text.replace(sign, "\\" + sign)
    return text
