"""`asr-lab archive`, `restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asr_lab.cli.asking import ask, backend_option, impatient, megabytes, progress, yes_option
from asr_lab.errors import AsrLabError

if TYPE_CHECKING:
    from asr_lab.tracking.housekeeping.records import Record


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--to", required=True, metavar="DIR|s3://BUCKET/PREFIX", help="Where the bundles go.")
@click.option("--purge", is_flag=True, help="Afterwards erase the runs from the store: only the bundles are left.")
@backend_option
@yes_option
def archive(names: tuple[str, ...], to: str, purge: bool, backend: str, yes: bool) -> None:
    """Pack each RUN into a bundle: params, tags, all points of its metrics, artifacts, models, checksums.

    Each bundle is read back before its run is marked as archived; from then on list and compare hide it, and no
    cleanup touches it. `asr-lab restore` brings it back.

    \b
    Examples:
      asr-lab archive john-5e6f7a8b base-1a2b3c4d --to /mnt/archive
      asr-lab archive base-1a2b3c4d --to s3://lab/runs --purge
    """
    impatient()
    from asr_lab.tracking.housekeeping import archive as archiving
    from asr_lab.tracking.housekeeping.erase import Eraser
    from asr_lab.tracking.housekeeping.records import record_of, registered, resolve, scan
    from asr_lab.tracking.store import client as tracking_client

    client = tracking_client()
    records = scan(client)
    found = list(dict.fromkeys(resolve(name, records).run_id for name in names))
    runs = [client.get_run(run_id) for run_id in found]
    held = registered(client)
    if purge:
        _refuse_registered([record_of(run) for run in runs], held.by_id)
        ask(f"{len(runs)} runs: erase from the store once they are in {to}?", yes)
    for run in runs:
        location, size = archiving.archive(client, run, to, held)
        click.echo(f"{run.info.run_name}: {location}, {megabytes(size)}")
    if purge:
        eraser = Eraser(client, backend)
        with progress("erasing", len(runs)) as done:
            for run in runs:
                eraser.erase(record_of(run))
                done()
        click.echo(f"{len(runs)} runs erased from the store; asr-lab restore BUNDLE brings one back")


def _refuse_registered(runs: list[Record], held: dict[str, str]) -> None:
    for run in runs:
        for id in (run.run_id, *run.models):
            if id in held:
                raise AsrLabError(f"{run.name} is registered as {held[id]}: it cannot be erased", allowed="no --purge")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN|BUNDLE...")
def restore(names: tuple[str, ...]) -> None:
    """Bring back runs: deleted ones, archived ones, and from bundles ones that this store does not have.

    A run from a bundle gets a new id, and is also found by the old one. Twice is the same as once.

    \b
    Examples:
      asr-lab restore john-5e6f7a8b
      asr-lab restore /mnt/archive/base-1a2b3c4d.tar.zst
      asr-lab restore s3://lab/runs/base-1a2b3c4d.tar.zst
    """
    impatient()
    from asr_lab.tracking.housekeeping import restore as restoring
    from asr_lab.tracking.store import client as tracking_client

    client = tracking_client()
    for name in names:
        done = restoring.restore(client, name)
        click.echo(f"{done.name} ({done.run_id[:8]}) {done.how}")
        for registered in done.registered:
            model = registered.split("/")[0]
            click.echo(f"  it was registered as {registered}; asr-lab register {done.run_id[:8]} --name {model}")
