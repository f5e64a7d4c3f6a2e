"""`asr-lab doctor`."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

import click

from asr_lab.cli.options import console, format_option
from asr_lab.cli.store.confirm import ask, plan_option, yes_option
from asr_lab.cli.store.relocate import relocate_store
from asr_lab.errors import AsrLabError

_STATES = {"ok": "[green]{}[/]", "warn": "[yellow]{}[/]", "fail": "[red]{}[/]"}


@click.command()
@click.option("--relocate", is_flag=True, help="Rewrite the paths of a store that was copied or moved.")
@click.option(
    "--upgrade", is_flag=True, help="Upgrade the store of an older MLflow, and keep a copy of an SQLite file."
)
@plan_option
@yes_option
@format_option
@click.pass_context
def doctor(context: click.Context, relocate: bool, upgrade: bool, dry_run: bool, yes: bool, style: str) -> None:
    """Check the installation, and suggest fixes: packages, tracking store and its schema, artifacts, disk, GPU, eSpeak.

    Exit code 1 when something does not work; a warning is not a failure. Nothing is changed without one of these:

    --upgrade: the schema of a store that an older MLflow made, which cannot open it any more afterwards; no other
    command does this. A copy is kept; of a database server none can be kept here, so it asks first.

    --relocate: the database of a copied or moved project names the files of its former folder. The paths are shown,
    and rewritten after a question; a copy of the database is kept.

    \b
    Examples:
      asr-lab doctor
      asr-lab doctor --relocate
      asr-lab doctor --upgrade
      MLFLOW_TRACKING_URI=http://tracking:5000 asr-lab doctor --format json
    """
    if relocate:
        relocate_store(dry_run=dry_run, yes=yes, style=style)
        return
    if (dry_run or yes) and not upgrade:
        raise AsrLabError("--dry-run and --yes go with --relocate or --upgrade")
    from asr_lab.tracking.doctor import Check, examine

    if upgrade:
        _upgrade(yes, dry_run=dry_run)
        if dry_run:
            return
    checks: list[Check] = []
    out = console()
    for check in examine():
        checks.append(check)
        if style == "table":
            out.say(_STATES[check.state] + "  [bold]{}[/]  {}", f"{check.state:4}", f"{check.name:9}", check.found)
            if check.advice:
                out.print(f"                 -> {check.advice}", soft_wrap=True)
    if style != "table":
        import pandas as pd  # late: doctor must run where pandas does not load

        from asr_lab.cli import tables

        tables.show(pd.DataFrame([asdict(check) for check in checks]), style)
    if any(check.state == "fail" for check in checks):
        context.exit(1)


def _upgrade(yes: bool, *, dry_run: bool) -> None:
    from asr_lab.tracking import migrations
    from asr_lab.tracking.connection import tracking_uri, without_password

    uri, out = tracking_uri(), console(stderr=True)
    shown = without_password(uri)
    if uri.startswith("http"):
        raise AsrLabError(
            "a tracking server cannot be upgraded from here",
            where=shown,
            next_command="MLFLOW_TRACKING_URI=URI-OF-THE-SERVER'S-DATABASE asr-lab doctor --upgrade",
        )
    if not migrations.needs_upgrade(uri):
        out.print(f"{shown} needs no upgrade", markup=False)
        return
    if dry_run:
        copy = "a copy of the file is kept beside it" if uri.startswith("sqlite") else "no copy can be kept here"
        out.print(f"{shown} would be upgraded to the schema of MLflow {version('mlflow')}; {copy}", markup=False)
        return
    if not uri.startswith("sqlite"):
        ask(f"No copy of {shown} can be kept here, and there is no way back. Upgrade it?", yes)
    kept = migrations.upgrade(uri)
    out.print(f"{shown} is upgraded" + (f"; the copy from before: {kept}" if kept else ""), markup=False)
