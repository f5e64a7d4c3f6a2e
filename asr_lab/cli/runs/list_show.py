"""`asr-lab list`, `show`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import pandas as pd

from asr_lab.cli.completion import RunName
from asr_lab.cli.options import console, echo, format_option
from asr_lab.cli.runs.filter_options import Selection, selection_options
from asr_lab.cli.tables import show as show_table
from asr_lab.cli.tables import write
from asr_lab.errors import AsrLabError
from asr_lab.reports.numbers import format_logged, format_metric, format_value
from asr_lab.reports.table import Table
from asr_lab.units import ago, hms, megabytes

if TYPE_CHECKING:
    from asr_lab.tracking.queries.runs import Run


@click.command("list")
@selection_options
@click.option("--state", type=click.Choice(["running", "finished", "failed", "killed"]), help="Only this state.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(min=1), help="Maximum number of runs.")
@format_option
def list_runs(selection: Selection, state: str | None, limit: int, style: str) -> None:
    """List runs, newest first: state, start, age, deciding metric, marks, size on disk.

    \b
    Examples:
      asr-lab list
      asr-lab list --family adapter --since 7d
      asr-lab list --filter "metrics.`test/wer` < 0.2" --format csv
      asr-lab list --pattern sweep --children --archived --limit 200
    """
    from asr_lab.tracking.queries.overview import overview
    from asr_lab.tracking.queries.runs import metrics_of

    runs = selection.find(status=(state or "").upper(), limit=limit)
    asked = " ".join(part for part in (str(selection), f"--state {state}" if state else "") if part)
    if not runs and asked:
        raise AsrLabError(f"no run matches {asked}", hint=selection.hidden(), next_command="asr-lab list")
    if not runs and style == "table":
        echo(selection.hidden() or "no runs yet; try: mlflow run . -e adapter -P name=john")
        return
    table = overview(runs)
    made = Table(frame=table) if style in ("json", "csv") else _formatted(table)
    values = [metrics_of(run).get(metric) for run, metric in zip(runs, table["metric"], strict=True)]
    nan = [(place, "value") for place, value in enumerate(values) if value is not None and value != value]
    show_table(replace(made, not_numbers=nan), style)
    if style == "table" and len(runs) == limit:
        console(stderr=True).print(f"the {limit} newest; more with --limit")


def _formatted(table: pd.DataFrame) -> Table:
    """Format ages, durations and sizes."""
    shown = table.drop(columns=["seconds", "bytes", "kind"])
    from asr_lab.tracking.clock import store_now_ms

    ages = [store_now_ms() / 1000 - datetime.fromisoformat(started).timestamp() for started in table["started"]]
    shown["started"] = table["started"].str.replace("T", " ")
    shown.insert(5, "age", list(map(ago, ages)))
    shown.insert(6, "took", [hms(took) if took == took else "-" for took in table["seconds"]])
    if not shown["marks"].any():
        shown = shown.drop(columns="marks")
    shown["size"] = ["-" if pd.isna(size) else megabytes(size) for size in table["bytes"]]
    return Table(
        frame=shown,
        metric_columns={"value": "metric"},
        expendable=("started", "took", "size", "family", "marks", "id", "age"),
    )


@click.command()
@click.argument("run", type=RunName())
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(run: str, style: str) -> None:
    """Show one RUN: what differs from the defaults, metrics and curves, data, models and related runs.

    RUN is a name, an id, or the first four or more characters of an id.

    \b
    Examples:
      asr-lab show john-5e6f7a8b
      asr-lab show 5e6f --format json
    """
    from asr_lab.tracking.queries import run_details
    from asr_lab.tracking.queries.find import find_run

    shown = find_run(run)
    sections = run_details.details(shown)
    if style == "json":
        head = {"run": shown.info.run_name, "id": shown.info.run_id}
        write(json.dumps(head | sections, ensure_ascii=False, indent=2))
        return
    about = sections["about"]
    about["started"] = about["started"].replace("T", " ")
    about["took"] = "not known" if about["took"] is None else hms(about["took"])
    size = about.pop("bytes")
    about["on disk"] = "not here" if size is None else megabytes(size)
    out = console()
    out.say("[bold]{}[/]  {}", shown.info.run_name, shown.info.run_id)
    for title, rows in sections.items():
        if title == "metrics":
            rows = {name: format_metric(name, value) for name, value in rows.items()}
        _section(_TITLES.get(title, title), rows)
        if title == "metrics":
            _section("curves", _curves(shown))


_TITLES = {"differs": "differs from the defaults"}


def _section(title: str, rows: dict[str, Any]) -> None:
    if rows:
        out = console()
        out.say("[bold]{}[/]", title)
        width = max(len(label) for label in rows)
        for label, value in rows.items():
            out.print(f"  {label:{width}}  {format_value(value)}", soft_wrap=True)


def _curves(run: Run) -> dict[str, str]:
    """Return a line per metric with several values: bars, first and last value, the best and its step."""
    from asr_lab.metrics.catalog import CURVES
    from asr_lab.reports.sparkline import sparkline
    from asr_lab.tracking.queries import curves, run_details

    drawn = {}
    for name, points in curves.curves([run], (*CURVES, "val/cer")).groupby("metric", sort=False):
        values = points.sort_values("step")["value"].tolist()
        if len(values) > 1:
            best = run_details.best_point(values, name)
            step = points.sort_values("step")["step"].tolist()[best]
            first, last, top = (format_logged(name, values[place]) for place in (0, -1, best))
            drawn[name] = f"{sparkline(values)}  {first} -> {last}, best {top} at step {step}"
    return drawn
