"""`asr-lab sync`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.options import console, echo, format_option
from asr_lab.cli.store.confirm import ask
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.tracking.spool.sync import Shipped


@click.command()
@click.argument("folder", default="spool", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="List pending runs; ship nothing.")
@click.option("--here", is_flag=True, help="Also ship runs recorded for another store to the current one.")
@click.option("--drop", "dropped", metavar="RUN", help="Discard the pending data of this run, by its name or id.")
@click.option("--yes", is_flag=True, help="With --drop: do not ask.")
@format_option
def sync(folder: Path, dry_run: bool, here: bool, dropped: str | None, yes: bool, style: str) -> None:
    """Ship what runs recorded into FOLDER [spool] while the tracking store was away, or after --offline.

    Every point is stored once, with its original time, even if shipping is interrupted and repeated. Active runs ship
    themselves. Runs recorded for another store than MLFLOW_TRACKING_URI are skipped without --here. FOLDER may be
    copied from a machine without a network.

    --format applies to the pending runs (with --dry-run) or to the result (without).

    \b
    Examples:
      asr-lab sync --dry-run
      asr-lab sync
      asr-lab sync /media/usb/spool --here
      asr-lab sync --drop base-1a2b3c4d
    """
    from asr_lab.tracking.connection import check_usable
    from asr_lab.tracking.spool import sync as shipping

    if dropped and dry_run:
        raise AsrLabError("--drop discards data and --dry-run changes nothing", allowed="one of them",
                          next_command="asr-lab sync --dry-run")  # fmt: skip
    table = shipping.waiting(folder)
    if dropped:
        _drop(folder, dropped, yes)
        return
    check_usable()
    if table.empty and style == "table":
        echo(f"no runs are pending in {folder}")
    elif dry_run:
        show(table, style)
    else:
        done = _ship(folder, int(table["events"].sum()), here) if len(table) else []
        _report(done, style)
        _refuse_rest(folder, done)


def _drop(folder: Path, dropped: str, yes: bool) -> None:
    from asr_lab.tracking.spool import sync as shipping

    spool = shipping.find_spool(folder, dropped)
    events = f"{counted(spool.waiting(), 'event')}, {spool.size() / 1e6:.1f} MB"
    echo(f"{shipping.name_of(spool)}: {events} in {spool.folder}, on no tracking store: lost if discarded")
    ask(f"discard the pending data of {shipping.name_of(spool)}?", yes)
    echo(f"{shipping.drop(folder, spool.id)}: dropped")


def _ship(folder: Path, total: int, here: bool) -> list[Shipped]:
    from rich.progress import Progress

    from asr_lab.tracking.spool import sync as shipping

    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("shipping", total=total)
        return shipping.ship(folder, lambda events: bar.advance(task, events), here=here)


def _report(done: list[Shipped], style: str) -> None:
    """Report the result for each run."""
    from asr_lab.tracking.spool import sync as shipping
    from asr_lab.tracking.store import shown_uri

    if style != "table":
        show(shipping.outcome(done), style)
        return
    out = console()
    if any(not one.elsewhere for one in done):
        out.print(f"to {shown_uri()}")
    for one in done:
        where = f" as run {one.run_id}" if one.run_id else ""
        if not one.elsewhere:
            left = f", {one.left} left" if one.left else ""
            out.print(f"{one.name}: {counted(one.events, 'event')} shipped{where}{left}")


def _refuse_rest(folder: Path, done: list[Shipped]) -> None:
    """Raise `AsrLabError` if events are left, with the next command."""
    from asr_lab.tracking.store import shown_uri

    left = [one for one in done if (one.left or one.trouble) and not one.elsewhere]
    elsewhere = [one for one in done if one.elsewhere]
    stores = sorted({one.store for one in elsewhere})
    command = "asr-lab sync" + (f" {folder}" if folder != Path("spool") else "")
    redirect = f"{command} --here ships those of {listing(stores)} to {shown_uri()}" if elsewhere else ""
    if left:
        events = counted(sum(one.left for one in left), "event")
        raise AsrLabError(
            f"{events} of {counted(len(left), 'run')} still wait: {left[0].trouble}",
            hint=redirect,
            next_command=left[0].next_command or f"{command} --dry-run",
        )
    if elsewhere:
        raise AsrLabError(
            f"{counted(len(elsewhere), 'run')} recorded for another store, and waiting: "
            f"{listing((one.name for one in elsewhere), 4)}",
            where=f"for {listing(stores)}; the store is {shown_uri()}",
            hint=redirect,
            next_command=f"MLFLOW_TRACKING_URI={stores[0]} {command}",
        )
