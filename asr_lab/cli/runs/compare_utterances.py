"""`asr-lab compare RUN1 RUN2 --utterances`: differences per utterance."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.text import Text

from asr_lab.cli import tables
from asr_lab.cli.options import console
from asr_lab.errors import AsrLabError
from asr_lab.metrics import ratios
from asr_lab.metrics.catalog import direction
from asr_lab.reports.aligned_text import Cell, side_by_side
from asr_lab.reports.table import Table
from asr_lab.tracking.queries.evidence import pair
from asr_lab.tracking.queries.run_set import deciding_metric
from asr_lab.tracking.queries.runs import Run
from asr_lab.tracking.queries.score_tables import scored_splits, utterances

_STYLES = {"equal": "", "substitute": "yellow", "delete": "red", "insert": "magenta"}


def show_utterances(first: Run, second: Run, metric: str, limit: int, style: str, out: Path | None = None) -> None:
    """Show the utterances of two runs, largest changes first; raises `AsrLabError` if their data differ.

    Styles other than `table` are written to `out`.
    """
    if style == "html":
        raise AsrLabError("--utterances has no page", allowed="--format table, json, csv, markdown or latex")
    decides = _metric(first, second, metric)
    split, _, rate = decides.partition("/")
    own, theirs = utterances(first, split), utterances(second, split)
    try:
        theirs = pair(own, first, theirs, second, split)
    except AsrLabError as error:
        names = f"{first.info.run_name} and {second.info.run_name}"
        raise AsrLabError(f"{names} were {error.what}: no winner is called", where=error.where) from error
    before, lengths = ratios.counts(own, rate)
    after, _ = ratios.counts(theirs, rate)
    changes = pd.DataFrame(
        {
            "id": own["id"],
            "reference": own["reference"],
            "hypothesis_1": own["hypothesis"],
            "hypothesis_2": theirs["hypothesis"],
            "errors_1": before,
            "errors_2": after,
            "change": after - before,
        }
    )
    order = changes["change"].abs().sort_values(ascending=False, kind="stable").index
    changes = changes.loc[order]
    if style != "table":
        tables.write(Table(frame=changes).text(style), out)
        return
    interval, _ = ratios.difference(own, theirs, rate)
    _print(changes[changes["hypothesis_1"] != changes["hypothesis_2"]], first, second, limit)
    better, worse = int((changes["change"] < 0).sum()), int((changes["change"] > 0).sum())
    total = max(int(lengths.sum()), 1)
    say = console().print
    say(f"{better} better, {worse} worse, {len(changes) - better - worse} as good; of {len(changes)}")
    say(
        f"{decides} {before.sum() / total:.1%} -> {after.sum() / total:.1%}, difference {interval.value:+.1%}, "
        f"95 % interval {interval.low:+.1%} to {interval.high:+.1%}, p = {interval.p:.2g}",
    )


def _metric(first: Run, second: Run, wanted: str) -> str:
    """Return the error rate to compare: `wanted`, the deciding one, or one of a split of both runs."""
    decides = deciding_metric([second, first], wanted)
    if not wanted:
        rate = ratios.rate_of(decides)
        if rate and direction(decides) == "higher":  # F1 has no errors per utterance, but PER has
            decides = f"{decides.partition('/')[0]}/per"
        both = scored_splits(first) & scored_splits(second)
        if both and decides.partition("/")[0] not in both:
            decides = f"{'test' if 'test' in both else min(both)}/{ratios.rate_of(decides) or 'wer'}"
    if not ratios.rate_of(decides) or direction(decides) != "lower":
        raise AsrLabError(
            f"{decides or 'nothing'} does not count the errors of single utterances",
            allowed="--metric test/wer, test/cer or test/per",
        )
    return decides


def _print(changed: pd.DataFrame, first: Run, second: Run, limit: int) -> None:
    out, names = console(), ("reference", str(first.info.run_name), str(second.info.run_name))
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
