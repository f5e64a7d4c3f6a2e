"""`asr-lab doctor --relocate`."""

from __future__ import annotations

from asr_lab.cli.options import echo
from asr_lab.cli.store.confirm import ask
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError
from asr_lab.units import counted


def relocate_store(*, dry_run: bool, yes: bool, style: str) -> None:
    """Show which paths of a copied or moved store change, ask, and rewrite them."""
    import pandas as pd

    from asr_lab.tracking import relocation
    from asr_lab.tracking.connection import check_connection
    from asr_lab.tracking.store import shown_uri, tracking_uri

    check_connection(tracking_uri())
    if not tracking_uri().startswith("sqlite"):
        raise AsrLabError(
            "only an SQLite store can be relocated",
            where=shown_uri(),
            hint="a tracking server's: stop it, and run this where its database is",
            next_command="MLFLOW_TRACKING_URI=sqlite:///mlflow.db asr-lab doctor --relocate",
        )
    planned = relocation.plan(tracking_uri())
    if planned is None:
        echo(f"nothing to do: no path of {shown_uri()} names a former folder", err=style != "table")
        return
    rows = [(table, column, number) for (table, column), number in planned.counts().items()]
    show(pd.DataFrame(rows, columns=["table", "column", "paths"]), style)
    total = counted(sum(number for *_, number in rows), "path")
    for former, folder in planned.moved.moves.items():
        echo(f"{former} becomes {folder}", err=style != "table")
    if dry_run:
        return
    ask(f"rewrite {total} in {planned.moved.file}?", yes)
    backup = relocation.relocate(planned)
    echo(f"{total} rewritten; the database as it was: {backup}", err=style != "table")
