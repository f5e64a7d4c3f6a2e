"""`asr-lab forget`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from asr_lab.cli.completion import complete_adapted
from asr_lab.cli.options import console, echo, format_option
from asr_lab.cli.store.confirm import backend_option, limit_retries, plan_option, progress, yes_option
from asr_lab.cli.tables import show as show_table
from asr_lab.errors import AsrLabError
from asr_lab.system.visible_text import one_line
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.tracking.erasure.search import SpeakerData
    from asr_lab.tracking.run_index import Record


@click.command()
@click.argument("person", shell_complete=complete_adapted)
@click.option(
    "--bundles", multiple=True, metavar="DIR|s3://...", help="Also search the bundles in this location; repeatable."
)
@click.option("--shared-models", is_flag=True, help="Also erase models trained on PERSON and others.")
@backend_option
@plan_option
@yes_option
@format_option
def forget(
    person: str, bundles: tuple[str, ...], shared_models: bool, backend: str, dry_run: bool, yes: bool, style: str
) -> None:
    """Erase everything of PERSON: runs, adapters, registered versions, files, pages, bundles; pinned runs too.

    The plan is shown first. Runs evaluated on PERSON and others lose PERSON's rows and pages, and comparisons with
    PERSON's runs. Training data are attributed by manifests that are unchanged since the run. An erasure record
    counts what was erased, without the name. Recordings, manifests and their tables (.tables) are not touched.

    \b
    Examples:
      asr-lab forget john --dry-run
      asr-lab forget john --bundles /mnt/archive
      asr-lab forget john --yes
    """
    limit_retries()
    from asr_lab.tracking.erasure import forget as forgetting
    from asr_lab.tracking.erasure.search import find_speaker_data
    from asr_lab.tracking.moved_store import refuse_moved
    from asr_lab.tracking.store import client as tracking_client
    from asr_lab.tracking.store import tracking_uri

    if not dry_run:
        refuse_moved(tracking_uri(), backend)  # before manifests are read, of which tables are made

    def with_bar(records: Sequence[Record]) -> Iterator[Record]:
        with progress("searching", len(records)) as done:
            for record in records:
                yield record
                done()

    client = tracking_client()
    data = find_speaker_data(client, person, bundles=bundles, shared_models=shared_models, each=with_bar)
    _show(data, style)
    if dry_run:
        return
    if not yes and click.prompt(one_line(f"type {person} to erase all of this for good"), err=True) != person:
        raise AsrLabError("the name does not match", allowed=person, hint="nothing was erased")
    with progress("erasing", sum(data.counts().values())) as done:
        record = forgetting.erase(client, data, backend_store_uri=backend, done=done)
    console(stderr=True).print(f"erased; the erasure record is run {record.run_id}")


def _show(data: SpeakerData, style: str) -> None:
    import pandas as pd

    table = pd.DataFrame(_rows(data), columns=["what", "which", "id", "then"])
    if style != "table":
        doubts = [("not known", "", "", doubt) for doubt in data.doubts]
        show_table(pd.concat([table, pd.DataFrame(doubts, columns=list(table))]), style)
        return
    ids = table.pop("id")
    table["which"] = [f"{which} ({id[:8]})" if id else which for which, id in zip(table["which"], ids, strict=True)]
    show_table(table, style)
    for doubt in data.doubts:
        echo(doubt)
    if other_names := sorted(data.known_as - {data.speaker}):
        echo(f"{data.speaker} is called {', '.join(other_names)} in tables")
    echo(", ".join(_counted(number, what) for what, number in data.counts().items()))


def _counted(number: int, what: str) -> str:
    """Return `1 run of others with their utterances`: only the counted noun is singular."""
    noun, preposition, rest = what.partition(" of ") if " of " in what else what.partition(" with ")
    if " and " in noun:
        noun = "file or folder" if number == 1 else noun
        return f"{number} {noun}"
    return counted(number, noun.removesuffix("s")) + preposition + rest


def _rows(data: SpeakerData) -> Iterator[tuple[str, str, str, str]]:
    """Yield what there is, its name, the id of a run, and what happens to it."""
    yield from (("run", one.name, one.run_id, "erased") for one in data.runs)
    yield from (("version", f"{name}/{number}", "", "erased") for name, number in data.versions)
    yield from (("file", str(path), "", "erased") for path in data.files)
    yield from (("bundle", location, "", "erased") for location in data.bundles.own)
    yield from (("bundle", location, "", "rewritten without them") for location in data.bundles.others)
    missing = "is not there: if it was moved, pass its new folder with --bundles"
    yield from (("bundle", location, "", missing) for location in data.bundles.missing)
    yield from (("run", one.name, one.run_id, "loses their rows and pages") for one in data.evaluated_with_others)
    comparison = "loses the comparison with them (compare/)"
    yield from (("run", one.name, one.run_id, comparison) for one in data.compared)
    trained = "stays: trained on others too (--shared-models erases it)"
    yield from (("run", one.name, one.run_id, trained) for one in data.trained_with_others)
    pending = "stays: not on the store yet (asr-lab sync, then forget again)"
    yield from (("spool", str(path), "", pending) for path in data.unshipped_spools)
