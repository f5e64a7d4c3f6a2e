"""`asr-lab ui`, `open`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from asr_lab.cli.completion import RunName
from asr_lab.cli.options import console, echo
from asr_lab.errors import AsrLabError
from asr_lab.system.browser import open_page

_NEWEST = 1000  # runs whose experiments get a view


@click.command()
@click.option(
    "--run",
    "names",
    type=RunName(),
    multiple=True,
    metavar="RUN",
    help="Open this run; given several times, compare them.",
)
@click.option("--family", default="", help="Open the experiment of this family's newest run.  [of the newest run]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the server.  [a free one]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def ui(names: tuple[str, ...], family: str, port: int | None, no_browser: bool) -> None:
    """Open the MLflow UI at the figures that count: the deciding metric with its interval, curves, the best run first.

    Serves the store of MLFLOW_TRACKING_URI, else sqlite:///mlflow.db of this folder, on 127.0.0.1 until Ctrl-C; where
    the store is a server already, its address is opened.

    \b
    Examples:
      asr-lab ui
      asr-lab ui --family adapter --port 5000
      asr-lab ui --run john-5e6f7a8b
      asr-lab ui --run base-1a2b3c4d --run john-5e6f7a8b --no-browser
    """
    if names and family:
        raise AsrLabError("--run and --family do not go together")
    from asr_lab.tracking.queries import runs
    from asr_lab.tracking.queries.find import find_each
    from asr_lab.tracking.queries.runs import family_of
    from asr_lab.tracking.store import client, tracking_uri
    from asr_lab.tracking.ui import addresses, views
    from asr_lab.tracking.ui.server import local_server

    served = addresses.server()
    if served and port:
        raise AsrLabError(f"the store is a server: {served}", allowed="--port only without a server")
    chosen = find_each(names)
    newest = runs.find(limit=_NEWEST)
    shown = next((run for run in newest if not family or family_of(run) == family), None)
    if family and shown is None:
        raise AsrLabError(f"no run of the family {family!r}", next_command="asr-lab list")
    if not chosen:
        with suppress(AsrLabError):  # who may not write opens the page as well
            views.describe_all(client(), newest)

    def show(server: str) -> None:
        if chosen:
            page = addresses.page_of_runs(chosen)
        elif shown:
            saved_view = addresses.takes_saved_views(server)
            page = addresses.page_of_experiment(shown.info.experiment_id, saved_view=saved_view)
        else:
            page = ""
        address = f"{server}/{page}"
        echo(address)
        if not no_browser:
            open_page(address)

    if served:
        show(served)
        return
    try:
        with local_server(tracking_uri(), port or 0) as local:
            show(local.address)
            console(stderr=True).print("Ctrl-C ends the server")
            local.wait()
    except KeyboardInterrupt:
        return


@click.command("open")
@click.argument("run", type=RunName())
@click.argument("page", default="")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the page to this file.")
@click.option("--no-browser", is_flag=True, help="Only print the path.")
def open_run(run: str, page: str, out: Path | None, no_browser: bool) -> None:
    """Open a page of RUN in the browser, and print its path: aligned text, a learner, a comparison, a sweep.

    PAGE is its path among the run's artifacts, or a part of it; without it the main page is opened, and the others are
    listed.

    \b
    Examples:
      asr-lab open john-5e6f7a8b
      asr-lab open 5e6f eval/base_test
      asr-lab open 5e6f --out john.html
    """
    from asr_lab.system.files import write_bytes
    from asr_lab.tracking.queries import pages
    from asr_lab.tracking.queries.find import find_run

    shown = find_run(run)
    known = pages.pages(shown)
    chosen = pages.choose(shown, known, page)
    file = pages.local_file(shown, chosen)
    if out:
        write_bytes(out, file.read_bytes())
        file = out
    others = [path for path in known if path != chosen]
    if others and not page:
        console(stderr=True).print(f"{chosen}; also {', '.join(others)}")
    echo(str(file))
    if not out and not no_browser:
        open_page(file.absolute().as_uri())
