"""Tables for people and for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from asr_lab.cli.options import console
from asr_lab.errors import AsrLabError
from asr_lab.reports.numbers import number

Best = Mapping[str, Any]
"""Column -> index label of the row that is set in bold."""

_WHOLE = ("run", "id", "value", "started", "age", "state", "p")
_SHORT, _LONG = 18, 36  # characters of a cell that is never folded, and of the longest
_ENDLESS = 10_000
_PLAIN_KEYS = ("model.", "train.", "augment.", "run.")  # whose last part says enough for a heading
_QUICK = 200  # rows above which a table is set by hand: rich takes as long as a second for a thousand


def show(table: pd.DataFrame, style: str, *, best: Best | None = None) -> None:
    """Print a table as `table`, `json`, `csv`, `markdown` or `latex`; the cells of `best` are set in bold."""
    if style == "table":
        if len(table) > _QUICK:
            click.echo(_plain(table, best or {}))
        else:
            _print(_rich(table, best or {}))
    else:
        write(written(table, style, best=best))


def _print(table: Table) -> None:
    """As wide as it needs to be: a terminal that is narrower folds lines, which loses nothing."""
    needed = console(width=_ENDLESS).measure(table).maximum
    console(width=needed).print(table, soft_wrap=True)


def written(table: pd.DataFrame, style: str, *, best: Best | None = None) -> str:
    """The text of a table in a style other than `table`."""
    if style == "json":
        return str(table.to_json(orient="records", force_ascii=False, indent=2, date_format="iso"))
    if style == "csv":
        return str(table.to_csv(index=False))
    return _markdown(table, best or {}) if style == "markdown" else _latex(table, best or {})


def write(text: str, out: Path | None = None) -> None:
    """Print a text, or write it into a file, whole or not at all, and say where it is."""
    if not out:
        click.echo(text, nl=not text.endswith("\n"))
        return
    aside = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(out)
    except OSError as error:
        raise AsrLabError(f"it cannot be written: {error.strerror or error}", where=str(out)) from error
    click.echo(f"{out}: {len(text) / 1000:.0f} kB", err=True)


def _cells(table: pd.DataFrame) -> dict[str, list[str]]:
    """The cells of each column; the figure under `value` is of the metric that its row names."""
    cells = {str(name): [number(str(name), value) for value in table[name].tolist()] for name in table.columns}
    if "value" in table and "metric" in table:
        pairs = zip(table["metric"], table["value"].tolist(), strict=True)
        cells["value"] = [number(str(metric), value) for metric, value in pairs]
    return cells


def _bold(table: pd.DataFrame, best: Best) -> set[tuple[str, int]]:
    """(Column, row number) of what is set in bold."""
    places = {label: place for place, label in enumerate(table.index)}
    return {(column, places[label]) for column, label in best.items() if label in places and column in table}


def _is_numeric(table: pd.DataFrame, column: str) -> bool:
    return bool(pd.api.types.is_numeric_dtype(table[column]))


def _rich(table: pd.DataFrame, best: Best) -> Table:
    rich = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    cells, bold = _cells(table), _bold(table, best)
    for column, texts in cells.items():
        right = _is_numeric(table, column) or any(name == column for name, _ in bold)
        whole = column in _WHOLE or all(len(text) <= _SHORT for text in texts)
        rich.add_column(escape(_heading(column, cells)), justify="right" if right else "left", no_wrap=whole)
    for place in range(len(table)):
        row = ((column, escape(_shortened(texts[place]))) for column, texts in cells.items())
        rich.add_row(*(f"[bold]{text}[/]" if (column, place) in bold else text for column, text in row))
    return rich


def _heading(column: str, others: Iterable[str]) -> str:
    """`hidden_size` of `model.hidden_size`, where no other column ends so."""
    last = column.rpartition(".")[2]
    alone = sum(name.rpartition(".")[2] == last for name in others) == 1
    return last if alone and column.startswith(_PLAIN_KEYS) else column


def _shortened(text: str) -> str:
    """For a terminal: names of runs and paths begin with what they are, and end in what tells them apart."""
    whole = len(text) <= _LONG or " " in text or not sys.stdout.isatty()
    return text if whole else f"{text[: _LONG // 2 - 1]}…{text[-(_LONG // 2) :]}"


def _plain(table: pd.DataFrame, best: Best) -> str:
    from rich.cells import cell_len

    cells, bold = _cells(table), _bold(table, best)
    columns = []
    for column, texts in cells.items():
        width = max(cell_len(text) for text in (column, *texts))
        right = _is_numeric(table, column)
        gaps = [" " * (width - cell_len(text)) for text in (column, *texts)]
        padded = [gap + text if right else text + gap for gap, text in zip(gaps, (column, *texts), strict=True)]
        for name, place in bold:
            if name == column:
                padded[place + 1] = click.style(padded[place + 1], bold=True)
        columns.append([padded[0], "─" * width, *padded[1:]])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _rows(table: pd.DataFrame, best: Best, clean: Any, bold: str) -> list[list[str]]:
    cells, strong = _cells(table), _bold(table, best)
    rows = [[clean(column) for column in cells]]
    for place in range(len(table)):
        row = ((column, clean(texts[place])) for column, texts in cells.items())
        rows.append([bold.format(text) if (column, place) in strong else text for column, text in row])
    return rows


def _markdown(table: pd.DataFrame, best: Best) -> str:
    rows = _rows(table, best, lambda text: re.sub(r"([\\|<*`])", r"\\\1", text), "**{}**")
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _latex(table: pd.DataFrame, best: Best) -> str:
    rows = _rows(table, best, _escape_latex, r"\textbf{{{}}}")
    body = [" & ".join(row) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
    return "\n".join([*parts, r"\end{tabular}"])


_LATEX = {sign: "\\" + sign for sign in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
