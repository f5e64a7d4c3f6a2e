"""`asr-lab forget`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from asr_lab.cli.options import console, format_option
from asr_lab.cli.store.confirm import backend_option, limit_retries, plan_option, progress, yes_option
from asr_lab.cli.tables import show as show_table
from asr_lab.errors import AsrLabError

if TYPE_CHECKING:
    from asr_lab.tracking.erasure.search import SpeakerData
    from asr_lab.tracking.run_index import Record


@click.command()
@click.argument("person")
@click.option("--bundles", multiple=True, metavar="DIR|s3://...", help="Also search the bundles there; repeatable.")
@click.option("--shared-models", is_flag=True, help="Also erase models that learned from PERSON among others.")
@backend_option
@plan_option
@yes_option
@format_option
def forget(
    person: str, bundles: tuple[str, ...], shared_models: bool, backend: str, dry_run: bool, yes: bool, style: str
) -> None:
    """Erase everything of PERSON: runs, adapters, registered versions, files, pages, bundles; even what is kept.

    What it finds is shown first. Runs that were evaluated on PERSON among others stay, without PERSON's rows and
    without the pages they are on, and comparisons with their runs go. A manifest tells whose data a run used only
    while it is what the run learned from. A record is left that says how much was erased, and not whose. Recordings
    and manifests are yours: they are not touched.

    \b
    Examples:
      asr-lab forget john --dry-run
      asr-lab forget john --bundles /mnt/archive
      asr-lab forget john --yes
    """
    limit_retries()
    from asr_lab.tracking.erasure import forget as forgetting
    from asr_lab.tracking.erasure.search import find_speaker_data
    from asr_lab.tracking.store import client as tracking_client

    def with_bar(records: Sequence[Record]) -> Iterator[Record]:
        with progress("looking for them", len(records)) as done:
            for record in records:
                yield record
                done()

    client = tracking_client()
    data = find_speaker_data(client, person, bundles=bundles, shared_models=shared_models, each=with_bar)
    _show(data, style)
    if dry_run:
        return
    if not yes and click.prompt(f"type {person} to erase all of this for good", err=True) != person:
        raise AsrLabError("that is not the name", allowed=person, hint="nothing was erased")
    with progress("erasing", sum(data.counts().values())) as done:
        record = forgetting.erase(client, data, backend_store_uri=backend, done=done)
    console(stderr=True).print(f"forgotten; the record is run {record.run_id}")


def _show(data: SpeakerData, style: str) -> None:
    import pandas as pd

    rows = list(_rows(data))
    if style != "table":
        rows += [("not known", "", doubt) for doubt in data.doubts]
    show_table(pd.DataFrame(rows, columns=["what", "which", "then"]), style)
    if style == "table":
        for doubt in data.doubts:
            click.echo(doubt)
        known_as = sorted(data.known_as - {data.speaker})
        if known_as:
            click.echo(f"{data.speaker} is called {', '.join(known_as)} in tables")
        click.echo(", ".join(f"{number} {what}" for what, number in data.counts().items()))


def _rows(data: SpeakerData) -> Iterator[tuple[str, str, str]]:
    """What there is, which it is, and what becomes of it."""
    yield from (("run", one.name, "erased") for one in data.runs)
    yield from (("version", f"{name}/{number}", "erased") for name, number in data.versions)
    yield from (("file", str(path), "erased") for path in data.files)
    yield from (("bundle", location, "erased") for location in data.bundles.own)
    yield from (("bundle", location, "written anew without them") for location in data.bundles.others)
    moved = "is not there: if it was moved, --bundles FOLDER searches where to"
    yield from (("bundle", location, moved) for location in data.bundles.missing)
    yield from (("run", one.name, "loses their rows and pages") for one in data.evaluated_with_others)
    yield from (("run", one.name, "loses the comparison with them (compare/)") for one in data.compared)
    trained = "stays: learned from others too (--shared-models erases it)"
    yield from (("run", one.name, trained) for one in data.trained_with_others)
    waits = "stays: not on the store yet (asr-lab sync, then forget again)"
    yield from (("spool", str(path), waits) for path in data.unshipped_spools)
