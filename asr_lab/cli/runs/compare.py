"""`asr-lab compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.completion import RunName
from asr_lab.cli.options import console, echo, print_where_to_look
from asr_lab.cli.runs.filter_options import Selection, selection_options
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

if TYPE_CHECKING:
    import pandas as pd

    from asr_lab.tracking.queries.comparison import Comparison

STYLES = ("table", "json", "csv", "markdown", "latex", "html")
_FIGURES = (".png", ".svg", ".pdf")


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...", type=RunName())
@selection_options
@click.option("--metric", default="", help="Rank and test by this metric.  [the family's deciding metric]")
@click.option(
    "--vs",
    default="",
    type=RunName(),
    metavar="RUN|best",
    help="Test every run against it; the default for up to 20 runs.",
)
@click.option("--group-by", "by", default="", metavar="KEY,...", help="Group runs by parameters: mean, deviation, n.")
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
    if names and str(selection):
        raise AsrLabError(f"runs by name and {selection} do not go together", allowed="names, or selection options")
    from asr_lab.tracking.queries.find import find_each, find_run

    if utterances:
        from asr_lab.cli.runs.compare_utterances import show_utterances

        if len(names) != 2:
            raise AsrLabError(f"--utterances compares two runs, not {len(names)}", next_command="asr-lab list")
        show_utterances(find_run(names[0]), find_run(names[1]), metric, limit, style, out)
        return
    runs = find_each(names) if names else selection.find(status="FINISHED")
    if not runs:
        what = f"no finished run matches {selection}" if str(selection) else "no finished runs yet"
        raise AsrLabError(what, hint=selection.hidden(), next_command="asr-lab list")
    from asr_lab.cli.store.confirm import progress
    from asr_lab.tracking.queries import comparison

    keys = [key.strip() for key in by.split(",") if key.strip()]
    bar = partial(progress, "comparing utterances")
    compared = comparison.compare(runs, metric=metric, vs=vs or None, by=keys, methods=ways, progress=bar)
    paged = style == "html" or (log and not by)  # groups have no page
    drawn = _curves(compared) if paged or figure or log else None
    page = _page(compared, drawn) if paged and drawn is not None else ""
    _write(compared, style, out, page)
    if style == "table" and 1 < len(compared.runs) <= _MOST_IN_A_LINE:
        print_where_to_look(console(stderr=True), *(run.info.run_id for run in compared.runs))
    if drawn is not None and (figure or log):
        _draw(compared, drawn, figure, log=log, page=page)


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


def _write(compared: Comparison, style: str, out: Path | None, page: str) -> None:
    from asr_lab.cli import tables

    if style == "table":
        tables.show(compared.summary_table(), style)
        for line in compared.sentences:
            console().say("{}", line)
        return
    table = compared.table() if style in ("json", "csv") else compared.summary_table()
    text = page if style == "html" else table.text(style)
    tables.write(text, out)
    for line in compared.sentences if style != "html" else []:
        echo(line, err=True)


def _curves(compared: Comparison) -> pd.DataFrame:
    """Return the learning curves of the best runs."""
    from asr_lab.metrics.catalog import CURVES
    from asr_lab.tracking.queries.curves import curves

    if len(compared.runs) > _MOST_CURVES:
        console(stderr=True).print(f"curves: of the {_MOST_CURVES} best of {counted(len(compared.runs), 'run')}")
    return curves(compared.ranked()[:_MOST_CURVES], CURVES)


_MOST_CURVES = 50  # runs whose curves are read, the best first


def _page(compared: Comparison, curves: pd.DataFrame) -> str:
    from asr_lab.reports.comparison import comparison_page

    return comparison_page(
        compared.frame,
        metric=compared.metric,
        best=compared.best,
        sentences=compared.sentences,
        baseline=compared.evidence.baseline.info.run_id if compared.evidence else "",
        curves=curves,
        not_numbers=compared.not_numbers,
    )


_MOST_IN_A_LINE = 10  # runs of a command or an address


def _draw(compared: Comparison, curves: pd.DataFrame, file: Path | None, *, log: bool, page: str) -> None:
    from asr_lab.reports.curves import curves_figure
    from asr_lab.reports.fonts import fitted
    from asr_lab.tracking.queries.curves import log_comparison

    drawn = curves_figure(curves)
    err = console(stderr=True)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        fitted(drawn).savefig(file, dpi=150)
        err.print(f"curves: {file}")
    if log:
        log_comparison(compared.runs, compared.table(), drawn, page)
        logged = "table, curves and page" if page else "table and curves"
        err.print(f"{logged}: under compare/ of {counted(len(compared.runs), 'run')}")
