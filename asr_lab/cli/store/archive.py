"""`asr-lab archive`, `restore`."""

from __future__ import annotations

import shlex

import click

from asr_lab.cli.completion import RunName
from asr_lab.cli.options import Renamed, echo
from asr_lab.cli.store.confirm import (
    ask,
    backend_option,
    limit_retries,
    named,
    plan_option,
    progress,
    warn_hidden_rows,
    yes_option,
)
from asr_lab.units import counted, megabytes


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...", type=RunName())
@click.option(
    "--out", "--to", "to", cls=Renamed, required=True, metavar="DIR|s3://BUCKET/PREFIX", help="Location of the bundles."
)
@click.option("--purge", is_flag=True, help="Then erase the runs from the store, so that only the bundles are left.")
@backend_option
@plan_option
@yes_option
def archive(names: tuple[str, ...], to: str, purge: bool, backend: str, dry_run: bool, yes: bool) -> None:
    """Pack each RUN into a bundle: params, tags, all points of its metrics, artifacts, models, checksums.

    Each bundle is verified before its run is marked as archived; then list and compare hide it, and no cleanup
    touches it. `asr-lab restore` restores it. The same command finishes an interrupted purge.

    \b
    Examples:
      asr-lab archive john-5e6f7a8b base-1a2b3c4d --out /mnt/archive
      asr-lab archive john-5e6f7a8b --out /mnt/archive --purge --dry-run
      asr-lab archive base-1a2b3c4d --out s3://lab/runs --purge
    """
    limit_retries()
    from asr_lab.tracking.archive import archive as archiving
    from asr_lab.tracking.archive import purge as purging
    from asr_lab.tracking.cleanup.apply import measure
    from asr_lab.tracking.cleanup.erase import Eraser
    from asr_lab.tracking.run_index import read_registrations
    from asr_lab.tracking.store import client as tracking_client

    client = tracking_client()
    held, chosen = read_registrations(client), purging.choose(names, to, purge=purge)
    for name, location in chosen.erased.items():
        echo(f"{name}: erased from the store before; it is in {location}")
    going = chosen.whole + chosen.begun
    if purge:
        purging.refuse_registered(going, held)
    for run in going:
        then = "" if not purge else ", then erased from the store"
        then = then if run in chosen.whole else "; what is left of it is erased from the store"
        echo(f"{run} -> {chosen.locations[run.run_id]}{then}")
    if dry_run:
        return
    eraser = None
    if purge and going:
        eraser = Eraser(client, backend)
        eraser.check(going)
        if not yes:
            with progress("measuring", len(going)) as done:
                sizes = measure(client, going, "purge", done)
            total = "" if None in sizes else f", {megabytes(sum(size or 0 for size in sizes))}"
            runs = f"{named(going)} ({counted(len(going), 'run')}{total})"
            ask(f"erase from the store rows, artifacts and models of {runs} once archived in {to}?", yes)
    for run in chosen.whole:
        location, size = archiving.archive(client, client.get_run(run.run_id), to, held)
        echo(f"{run.name}: {location}, {megabytes(size)}")
    if eraser:
        with progress("erasing", len(going)) as done:
            for run in going:
                purging.purge(client, eraser, run, chosen.locations[run.run_id])
                done()
        echo(f"{counted(len(going), 'run')} erased from the store; asr-lab restore BUNDLE brings one back")
        if not eraser.rows:
            warn_hidden_rows()


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN|BUNDLE...", type=RunName())
@plan_option
def restore(names: tuple[str, ...], dry_run: bool) -> None:
    """Restore runs: deleted ones, archived ones, and from bundles those that the store does not have.

    A run from a bundle gets a new id, and is also found by the old one.

    \b
    Examples:
      asr-lab restore john-5e6f7a8b --dry-run
      asr-lab restore /mnt/archive/base-1a2b3c4d.tar.zst
      asr-lab restore s3://lab/runs/base-1a2b3c4d.tar.zst
    """
    limit_retries()
    from asr_lab.tracking.archive import restore as restoring
    from asr_lab.tracking.store import client as tracking_client

    client = tracking_client()
    planned = restoring.plan(client, names)
    for one in planned:
        echo(f"{one.name} {one.what}")
    for one in [] if dry_run else [one for one in planned if not one.is_there]:
        done = restoring.restore(client, one)
        echo(f"{done.name} ({done.run_id[:8]}) {done.how}")
        for registered in done.registered:
            model = registered.split("/")[0]
            echo(f"  it was registered as {registered}; asr-lab register {done.run_id[:8]} --name {shlex.quote(model)}")
