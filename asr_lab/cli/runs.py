"""`asr-lab list`, `show`, `compare`, `register`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd

from asr_lab.cli.options import console, format_option
from asr_lab.cli.tables import number
from asr_lab.cli.tables import show as show_table
from asr_lab.errors import AsrLabError


@click.command("list")
@click.option("--pattern", default="", help="Glob or part of a run's name, model type or family, case-blind.")
@click.option("--family", default="", help="Only this family, such as adapter.")
@click.option("--limit", default=30, show_default=True, help="At most so many runs.")
@format_option
def list_runs(pattern: str, family: str, limit: int, style: str) -> None:
    """Runs, newest first, with the metric that decides for their family.

    \b
    Examples:
      asr-lab list
      asr-lab list --family adapter --format csv
    """
    from asr_lab.tracking import runs

    found = runs.find(pattern, family, limit=limit)
    if not found and style == "table":
        click.echo("no runs yet; try: mlflow run . -e adapter -P name=john")
        return
    show_table(runs.overview(found), style)


@click.command()
@click.argument("run")
def show(run: str) -> None:
    """One RUN (name, id, or the beginning of an id): what it is, what differs, its figures, its data and models."""
    from asr_lab.tracking import runs

    found = runs.one(run)
    out = console()
    out.print(f"[bold]{found.info.run_name}[/]  {found.info.run_id}  {found.info.status}", highlight=False)
    for title, rows in runs.details(found).items():
        if rows:
            out.print(f"[bold]{title}[/]")
            width = max(len(label) for label in rows)
            for label, value in rows.items():
                out.print(
                    f"  {label:{width}}  {number(label, value)}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("--pattern", default="", help="Glob or part of a run's name, model type or family, case-blind.")
@click.option("--family", default="", help="Only this family, such as adapter.")
@click.option("--ways", is_flag=True, help="Scratch, fine-tune, adapter: error rates beside time, memory and size.")
@click.option("--curves", "figure", type=click.Path(path_type=Path), help="Draw the learning curves into this file.")
@click.option("--log", "log", is_flag=True, help="Put table and curves among the artifacts of the runs.")
@format_option
def compare(
    names: tuple[str, ...], pattern: str, family: str, ways: bool, figure: Path | None, log: bool, style: str
) -> None:
    """Runs side by side: only the parameters that differ, the metrics that matter, the best in bold.

    \b
    Examples:
      asr-lab compare --pattern john
      asr-lab compare --family deepspeech2 --format markdown
      asr-lab compare scratch-1a2b finetune-3c4d john-5e6f --ways --curves curves.png --log
    """
    from asr_lab.tracking import runs

    found = [runs.one(name) for name in names] or runs.find(pattern, family, status="FINISHED")
    if not found:
        raise AsrLabError(f"no finished run is like {pattern or family or 'that'!r}", next_command="asr-lab list")
    table: pd.DataFrame = runs.ways(found) if ways else runs.comparison(found)
    reason = runs.not_comparable(found)
    best = {} if reason else runs.best_of(table)
    show_table(table, style, best=best)
    if style == "table":
        for metric, name in best.items():
            console().print(f"best {metric}: {name}", highlight=False)
        if reason:
            console().print(reason, highlight=False)
    if figure or log:
        _draw(found, table, figure, log)


def _draw(found: list[Any], table: pd.DataFrame, file: Path | None, log: bool) -> None:
    from asr_lab.reports.curves import CURVES, curves_figure
    from asr_lab.tracking import runs

    figure = curves_figure(runs.curves(found, CURVES))
    if file:
        if file.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise AsrLabError(f"no figure can be written as {file.name!r}", allowed="a .png, .svg or .pdf file")
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
        console(stderr=True).print(f"curves: {file}", highlight=False)
    if log:
        runs.log_comparison(found, table, figure)
        console(stderr=True).print(f"table and curves: under compare/ of {len(found)} runs", highlight=False)


@click.command()
@click.argument("run")
@click.option("--name", required=True, help="Name in the model registry, such as deepspeech2.")
def register(run: str, name: str) -> None:
    """Make the model of RUN a version of NAME; the first version becomes @champion.

    \b
    Example:
      asr-lab register base-1a2b3c4d --name deepspeech2
    """
    from asr_lab.tracking import registry, runs

    version = registry.register_run(runs.one(run).info.run_id, name)
    click.echo(f"{run} is {registry.uri_of(version)}")
