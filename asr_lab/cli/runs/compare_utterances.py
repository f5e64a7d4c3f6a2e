"""`asr-lab compare RUN1 RUN2 --utterances`: differences per utterance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from asr_lab.cli import tables
from asr_lab.cli.options import console
from asr_lab.reports.aligned_text import Cell, side_by_side
from asr_lab.reports.table import Table
from asr_lab.system.terminal import Console

if TYPE_CHECKING:
    import pandas as pd

    from asr_lab.tracking.queries.utterance_changes import UtteranceChanges

_STYLES = {"equal": "", "substitute": "yellow", "delete": "red", "insert": "magenta"}


def show_changes(changes: UtteranceChanges, limit: int, style: str, out: Path | None) -> None:
    """Print the utterances with the largest changes between two runs, and the error rates.

    Styles other than `table` are written to `out`.
    """
    if style == "table":
        _print(changes, limit)
    else:
        tables.write(Table(frame=changes.frame).text(style), out)


def _print(changes: UtteranceChanges, limit: int) -> None:
    out, frame, difference = console(), changes.frame, changes.difference
    _print_utterances(out, frame[frame["hypothesis_1"] != frame["hypothesis_2"]], changes.names, limit)
    better, worse = int((frame["change"] < 0).sum()), int((frame["change"] > 0).sum())
    out.print(f"{better} better, {worse} worse, {len(frame) - better - worse} equal, of {len(frame)} utterances")
    out.print(
        f"{changes.metric} {changes.before:.1%} -> {changes.after:.1%}, difference {difference.value:+.1%}, "
        f"95 % interval {difference.low:+.1%} to {difference.high:+.1%}, p = {difference.p:.2g}",
    )


def _print_utterances(out: Console, changed: pd.DataFrame, runs: tuple[str, str], limit: int) -> None:
    names = ("reference", *runs)
    width = max(map(len, names))
    for row in changed.head(limit).itertuples():
        word = "better" if row.change < 0 else "worse" if row.change > 0 else "other"
        out.say("[bold]{}[/]  {} -> {} errors  {}", word, row.errors_1, row.errors_2, row.id)
        lines = side_by_side(row.reference, (row.hypothesis_1, row.hypothesis_2))
        for name, line in zip(names, lines, strict=True):
            out.print(Text(f"  {name:{width}}  ").append_text(_line(line)), soft_wrap=True)
    if len(changed) > limit:
        out.print(f"... {len(changed) - limit} more changed; --limit {len(changed)}")


def _line(cells: list[Cell]) -> Text:
    text = Text()
    for cell in cells:
        text.append(cell.text, style=_STYLES[cell.kind]).append(" " * (cell.width - len(cell) + 1))
    text.rstrip()
    return text
