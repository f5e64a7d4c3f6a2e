"""`asr-lab compare`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.completion import RunName, complete_key_lists, complete_metrics
from asr_lab.cli.options import console, echo, print_where_to_look
from asr_lab.cli.runs.filter_options import Selection, selection_options
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

if TYPE_CHECKING:
    import pandas as pd

    from asr_lab.tracking.queries.comparison import Comparison
    from asr_lab.tracking.queries.runs import Run

STYLES = ("table", "json", "csv", "markdown", "latex", "html")
_FIGURES = (".png", ".svg", ".pdf")


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...", type=RunName())
@selection_options
@click.option(
    "--metric",
    default="",
    shell_complete=complete_metrics,
    help="Rank and test by this metric.  [the family's deciding metric]",
)
@click.option(
    "--vs",
    default="",
    type=RunName(),
    metavar="RUN|best",
    help="Test every run against it; the default for up to 20 runs.",
)
@click.option(
    "--group-by",
    "by",
    default="",
    metavar="KEY,...",
    shell_complete=complete_key_lists,
    help="Group runs by parameters: mean, deviation, n.",
)
@click.option("--utterances", is_flag=True, help="For two runs: utterances that changed, aligned.")
@click.option("--limit", default=20, show_default=True, help="With --utterances: number of utterances shown.")
@click.option("--ways", is_flag=True, help="Compare training methods: error rates, time, memory and size.")
@click.option("--curves", "figure", type=click.Path(path_type=Path), help="Draw the learning curves to this file.")
@click.option("--log", "log", is_flag=True, help="Log table, curves and page to the runs.")
@click.option("--format", "style", type=click.Choice(STYLES), default="table", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write --format to this file.")
def compare(
    names: tuple[str, ...], selection: Selection, metric: str, vs: str, by: str, utterances: bool, limit: int,
    ways: bool, figure: Path | None, log: bool, style: str, out: Path | None,
) -> None:  # fmt: skip
    """Compare runs: differing parameters, main metrics with the best in bold, and significance (paired bootstrap on
    the same utterances; p corrected by Holm).

    \b
    Examples:
      asr-lab compare --pattern john
      asr-lab compare --family deepspeech2 --since 7d --format markdown
      asr-lab compare --filter "params.`train.lr` = '0.001'" --vs base-1a2b3c4d
      asr-lab compare --pattern sweep --children --group-by train.lr,model.hidden_size
      asr-lab compare base-1a2b3c4d john-5e6f7a8b --utterances
      asr-lab compare --pattern john --format html --out john.html
      asr-lab compare scratch-1a2b finetune-3c4d john-5e6f --ways --curves curves.png --log
    """
    _refuse(vs=vs, by=by, utterances=utterances, ways=ways, figure=figure, log=log, style=style, out=out)
    if utterances and len(names) != 2:
        raise AsrLabError(f"--utterances compares two runs, not {len(names)}", next_command="asr-lab list")
    runs = _find(names, selection)
    if utterances:
        from asr_lab.cli.runs.compare_utterances import show_changes
        from asr_lab.tracking.queries.utterance_changes import utterance_changes

        show_changes(utterance_changes(runs[0], runs[-1], metric), limit, style, out)
        return
    from asr_lab.cli.store.confirm import progress
    from asr_lab.tracking.queries import comparison

    keys = [key.strip() for key in by.split(",") if key.strip()]
    bar = partial(progress, "comparing utterances")
    compared = comparison.compare(runs, metric=metric, vs=vs or None, by=keys, methods=ways, progress=bar)
    has_page = style == "html" or (log and not by)  # groups have no page
    points = _curves(compared.runs) if has_page or figure or log else None
    page = compared.report.page(points) if has_page else ""
    _print(compared, page, style, out)
    if points is not None and (figure or log):
        _draw(compared, points, page, figure, log=log)


def _find(names: Sequence[str], selection: Selection) -> list[Run]:
    """Return the named runs, or the finished ones of a selection; raises `AsrLabError` if there are none."""
    if names and str(selection):
        raise AsrLabError(f"runs by name and {selection} do not go together", allowed="names, or selection options")
    from asr_lab.tracking.queries.find import find_each

    runs = find_each(names) if names else selection.find(status="FINISHED")
    if not runs:
        what = f"no finished run matches {selection}" if str(selection) else "no finished runs yet"
        raise AsrLabError(what, hint=selection.hidden(), next_command="asr-lab list")
    return runs


def _refuse(
    *, vs: str, by: str, utterances: bool, ways: bool, figure: Path | None, log: bool, style: str, out: Path | None
) -> None:
    """Raise `AsrLabError` for options that exclude each other."""
    modes = [name for name, on in (("--group-by", by), ("--utterances", utterances), ("--ways", ways)) if on]
    if len(modes) > 1 or (modes and vs):
        raise AsrLabError(f"{' and '.join([*modes, *(['--vs'] if vs else [])])} do not go together")
    if utterances and (figure or log):
        raise AsrLabError(
            "--utterances has no curves and is not logged", allowed="--format csv --out FILE, for instance"
        )
    if style == "html" and modes:
        raise AsrLabError(f"{modes[0]} has no page", allowed="--format table, json, csv, markdown or latex")
    if style == "table" and out:
        raise AsrLabError("--out needs a format", allowed="--format html, json, csv, markdown or latex")
    if figure and figure.suffix.lower() not in _FIGURES:
        raise AsrLabError(f"no figure can be written as {figure.name!r}", allowed="a .png, .svg or .pdf file")


_MOST_CURVES = 50  # runs whose curves are read, the best first
_MOST_IN_A_LINE = 10  # runs of a command or an address


def _curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the learning curves of the first runs, which are the best."""
    from asr_lab.metrics.catalog import CURVES
    from asr_lab.tracking.queries.curves import curves

    if len(runs) > _MOST_CURVES:
        console(stderr=True).print(f"curves: of the {_MOST_CURVES} best of {counted(len(runs), 'run')}")
    return curves(runs[:_MOST_CURVES], CURVES)


def _print(compared: Comparison, page: str, style: str, out: Path | None) -> None:
    """Print the table and what it says, or write it in a `style` to a file."""
    from asr_lab.cli import tables

    runs, report = compared.runs, compared.report
    if style != "table":
        tables.write(page if style == "html" else report.text(style), out)
        for line in report.sentences if style != "html" else []:
            echo(line, err=True)
        return
    tables.show(report.summary_table(), style)
    for line in report.sentences:
        console().say("{}", line)
    if 1 < len(runs) <= _MOST_IN_A_LINE:
        print_where_to_look(console(stderr=True), *(run.info.run_id for run in runs))


def _draw(compared: Comparison, points: pd.DataFrame, page: str, figure: Path | None, *, log: bool) -> None:
    """Draw the learning curves to a file, and log them to the runs with the table and the page."""
    from asr_lab.reports.curves import curves_figure
    from asr_lab.tracking.queries.curves import log_comparison

    err, drawn = console(stderr=True), curves_figure(points)
    if figure:
        figure.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(figure, dpi=150)
        err.print(f"curves: {figure}")
    if log:
        log_comparison(compared.runs, compared.report.text("csv"), drawn, page)
        logged = "table, curves and page" if page else "table and curves"
        err.print(f"{logged}: under compare/ of {counted(len(compared.runs), 'run')}")
