"""A DataFrame with formats, rendered for terminals, files and pages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd
from markupsafe import Markup
from rich.cells import cell_len

from asr_lab.metrics.catalog import Format, format_of
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.numbers import format_value, not_finite
from asr_lab.system.visible_text import one_line, visible

Side = Literal["left", "right"]

STYLES = ("table", "json", "csv", "markdown", "latex")
_LONGEST = 36  # longest cell in a terminal, in characters
_SHORT_KEYS = ("model.", "train.", "augment.", "run.")  # prefixes left out of headings


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table to show. JSON and CSV have the raw values, the other styles formatted ones."""

    frame: pd.DataFrame
    formats: Mapping[str, Format] = field(default_factory=dict)
    """Column -> format of its values; otherwise that of the metric (`catalog.format_of`)."""
    metric_columns: Mapping[str, str] = field(default_factory=dict)
    """Column with values of several metrics -> column with the metric of each row."""
    headings: Mapping[str, str] = field(default_factory=dict)
    """Column -> heading; otherwise its name."""
    best: Mapping[str, Any] = field(default_factory=dict)
    """Column -> index label of the row with the bold cell."""
    not_numbers: Collection[tuple[Any, str]] = ()
    """(Index label, column) of figures that are NaN; other gaps were not measured."""
    expendable: Sequence[str] = ()
    """Columns that a narrow terminal does without, the first ones first."""
    align: Mapping[str, Side] = field(default_factory=dict)
    """Column -> alignment; otherwise numbers and columns with a best cell are right-aligned."""

    def text(self, style: str) -> str:
        """Render the table in one of `STYLES`."""
        forms: dict[str, Callable[[], str]] = {
            "table": self.terminal,
            "json": self.json,
            "csv": self.csv,
            "markdown": self.markdown,
            "latex": self.latex,
        }
        return forms[style]()

    def terminal(self, *, shorten: bool = False, bold: bool = False) -> str:
        """Render plain text. `shorten` cuts the middle out of long names; `bold` sets headings and best cells in bold
        by ANSI codes."""
        if not len(self.frame.columns):
            return "\n"
        lines = self._terminal_columns(shorten=shorten, bold=bold)
        widths = [width for width, _ in lines]
        blank = " " * (sum(widths) + 2 * len(widths))
        rule = f" {'─' * (len(blank) - 2)} "
        rows = [f" {'  '.join(cells)} " for cells in zip(*(cells for _, cells in lines), strict=True)]
        return "\n".join([blank, rows[0], rule, *rows[1:], blank, ""])

    def fitted(self, columns: int, *, shorten: bool = False) -> tuple[Table, list[str]]:
        """Return the table without the expendable columns that a terminal of this width has no room for; and those."""
        table, left_out = self, list[str]()
        for name in self.expendable:
            if table.width(shorten=shorten) <= columns:
                break
            if name in table.frame:
                table = replace(table, frame=table.frame.drop(columns=name))
                left_out.append(name)
        return table, left_out

    def width(self, *, shorten: bool = False) -> int:
        """Return the width of `terminal`, in columns of the terminal."""
        return sum(width + 2 for width, _ in self._terminal_columns(shorten=shorten))

    def blocks(self) -> str:
        """Return a block of lines per row, a line per column: for a terminal that is too narrow for `terminal`."""
        cells = self.cells()
        names = [self._heading(name) for name in cells]
        indent = max(map(cell_len, names), default=0)
        blocks = [
            "".join(
                f" {name}{' ' * (indent - cell_len(name))}  {text}\n" for name, text in zip(names, row, strict=True)
            )
            for row in zip(*cells.values(), strict=True)
        ]
        return "\n".join(["", *blocks, ""])

    def _terminal_columns(self, *, shorten: bool, bold: bool = False) -> list[tuple[int, list[str]]]:
        placed = self._best_cells()
        return [self._terminal_column(name, texts, placed, shorten, bold) for name, texts in self.cells().items()]

    def _terminal_column(
        self, name: str, texts: list[str], placed: Collection[tuple[str, int]], shorten: bool, bold: bool
    ) -> tuple[int, list[str]]:
        """Return (width, heading and cells padded to it)."""
        shown = [self._heading(name)]
        shown += [_shortened(text) if shorten else text for text in texts]
        lengths = [cell_len(text) for text in shown]
        width, right = max(lengths), self._is_right(name)
        padded = []
        for place, (text, length) in enumerate(zip(shown, lengths, strict=True), -1):
            gap = " " * (width - length)
            cell = gap + text if right else text + gap
            padded.append(f"\x1b[1m{cell}\x1b[0m" if bold and (place == -1 or (name, place) in placed) else cell)
        return width, padded

    def _heading(self, name: str) -> str:
        return self.headings.get(name) or one_line(_short_heading(name, map(str, self.frame.columns)))

    def markdown(self) -> str:
        """Render a pipe table with best cells between asterisks."""
        head, *rows = self._rows(escape_markdown, "**{}**")
        lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
        return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])

    def latex(self) -> str:
        """Render a `tabular` with rules of booktabs."""
        rows = self._rows(_escape_latex, r"\textbf{{{}}}")
        body = [re.sub(r"^(?=[\[*])", "{}", " & ".join(row)) + r" \\" for row in rows]  # or an option of what precedes
        columns = "l" + "r" * (len(rows[0]) - 1)
        parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
        return "\n".join([*parts, r"\end{tabular}"])

    def csv(self) -> str:
        """Render the raw values with a header line (`csv_text`)."""
        return csv_text(self._exported())

    def json(self) -> str:
        """Render the raw values as a list of objects."""
        return visible(
            self._exported().to_json(
                orient="records", force_ascii=False, indent=2, date_format="iso", double_precision=15
            )
        )

    def html(self, *, best_rows: Collection[Hashable] = ()) -> Markup:
        """Render a `<table>`; numbers have the class `n`, the rows of `best_rows` (index labels) the class `best`."""
        from asr_lab.reports.page import render

        cells = self.cells()
        right = [self._is_right(name) for name in cells]
        head = zip((self.headings.get(name, name) for name in cells), right, strict=True)
        rows = [
            (list(zip(row, right, strict=True)), label in best_rows)
            for label, row in zip(self.frame.index, zip(*cells.values(), strict=True), strict=False)
        ]
        return Markup(render("table", head=list(head), rows=rows))

    def _exported(self) -> pd.DataFrame:
        """The values; `NaN`, `inf` and `-inf` as texts, since JSON has none of them and CSV takes NaN for a gap."""
        frame = self.frame.copy()
        for name in frame.select_dtypes("floating").columns:
            nan = {label for label, column in self.not_numbers if column == name}
            odd = [label in nan or math.isinf(value) for label, value in frame[name].items()]
            if any(odd):
                frame[name] = frame[name].astype(object).mask(odd, frame[name].map(not_finite))
        return frame

    def cells(self) -> dict[str, list[str]]:
        """Map each column to the text of its cells."""
        cells = {str(name): self._column(str(name), self.frame[name].tolist()) for name in self.frame.columns}
        places = {label: place for place, label in enumerate(self.frame.index)}
        for label, name in self.not_numbers:
            if label in places and name in cells:
                cells[name][places[label]] = "NaN"
        return cells

    def _column(self, name: str, values: list[Any]) -> list[str]:
        if name in self.metric_columns:
            metrics = map(str, self.frame[self.metric_columns[name]])
            return [format_value(value, format_of(metric)) for metric, value in zip(metrics, values, strict=True)]
        how = self.formats.get(name) or format_of(name)
        return [format_value(value, how) for value in values]

    def _best_cells(self) -> set[tuple[str, int]]:
        """Return (column, row number) of each bold cell."""
        places = {label: place for place, label in enumerate(self.frame.index)}
        return {(name, places[label]) for name, label in self.best.items() if label in places and name in self.frame}

    def _is_right(self, name: str) -> bool:
        if name in self.align:
            return self.align[name] == "right"
        return bool(pd.api.types.is_numeric_dtype(self.frame[name])) or name in self.best

    def _rows(self, clean: Callable[[str], str], bold: str) -> list[list[str]]:
        """Return the headings, then the rows, each text escaped by `clean`."""
        cells, placed = self.cells(), self._best_cells()
        rows = [[clean(self.headings.get(name, name)) for name in cells]]
        for place in range(len(self.frame)):
            row = ((name, clean(texts[place])) for name, texts in cells.items())
            rows.append([bold.format(text) if (name, place) in placed else text for name, text in row])
        return rows


def _short_heading(column: str, columns: Any) -> str:
    """Return `hidden_size` for `model.hidden_size` if no other column has that last part."""
    last = column.rpartition(".")[2]
    alone = sum(name.rpartition(".")[2] == last for name in columns) == 1
    return last if alone and column.startswith(_SHORT_KEYS) else column


def _shortened(text: str) -> str:
    """Cut the middle: names of runs and paths differ at their end."""
    short = len(text) <= _LONGEST or " " in text
    return text if short else f"{text[: _LONGEST // 2 - 1]}…{text[-(_LONGEST // 2) :]}"


def csv_text(frame: pd.DataFrame) -> str:
    """Return the rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe there."""
    return visible(str(frame.rename(columns=_no_formula).map(_no_formula).to_csv(index=False)))


_FORMULA = re.compile(r"[=+\-@\t\r].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?%?|[+-]?(inf|nan)", re.IGNORECASE)


def _no_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value


_LATEX = {sign: "\\" + sign for sign in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}


def _escape_latex(text: str) -> str:
    return re.sub("-(?=-)", "-{}", "".join(_LATEX.get(sign, sign) for sign in text))  # no dashes of hyphens
