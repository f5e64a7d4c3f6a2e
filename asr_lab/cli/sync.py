"""`asr-lab sync`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.options import console, format_option
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError


@click.command()
@click.argument("folder", default="spool", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what waits; ship nothing.")
@click.option("--drop", "dropped", metavar="RUN", help="Throw away what waits of this run, by its name or id.")
@click.option("--yes", is_flag=True, help="With --drop: do not ask.")
@format_option
def sync(folder: Path, dry_run: bool, dropped: str | None, yes: bool, style: str) -> None:
    """Ship what runs recorded into FOLDER [spool] while the tracking store was away, or after --offline.

    Every point arrives once, with the time it was logged, however often this is cut off. Runs that are recording ship
    themselves. A folder that was copied here from a machine without a network can be shipped as well.

    \b
    Examples:
      asr-lab sync --dry-run
      asr-lab sync
      asr-lab sync /media/usb/spool
      asr-lab sync --drop base-1a2b3c4d
    """
    from asr_lab.tracking.spool import sync as shipping

    table = shipping.waiting(folder)
    if dropped:
        _drop(folder, dropped, yes)
    elif dry_run or style != "table":
        show(table, style)
    elif table.empty:
        click.echo(f"nothing waits in {folder}")
    else:
        _ship(folder, int(table["events"].sum()))


def _drop(folder: Path, dropped: str, yes: bool) -> None:
    from asr_lab.tracking.spool import sync as shipping

    spool = shipping.one(folder, dropped)
    click.echo(f"{spool.waiting()} events, {spool.size() / 1e6:.1f} MB in {spool.folder}: on no store, and lost then")
    if not yes:
        click.confirm("throw them away?", abort=True)
    click.echo(f"{shipping.drop(folder, spool.id)}: dropped")


def _ship(folder: Path, total: int) -> None:
    from rich.progress import Progress

    from asr_lab.tracking.spool import sync as shipping

    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("shipping", total=total)
        done = shipping.ship(folder, lambda events: bar.advance(task, events))
    out = console()
    for one in done:
        where = f" as run {one.run_id}" if one.run_id else ""
        out.print(f"{one.name}: {one.events} events shipped{where}", highlight=False)
    left = [one for one in done if one.left]
    if left:
        raise AsrLabError(
            f"{sum(one.left for one in left)} events of {len(left)} runs still wait: {left[0].trouble}",
            next_command="asr-lab sync --dry-run",
        )
