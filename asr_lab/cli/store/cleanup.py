"""`asr-lab cleanup`, `keep`, `note`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import RunName
from asr_lab.cli.options import console, echo, format_option
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
from asr_lab.cli.tables import show as show_table
from asr_lab.errors import AsrLabError
from asr_lab.reports.table import Table
from asr_lab.system.times import parse_days
from asr_lab.units import age, counted, megabytes

if TYPE_CHECKING:
    from asr_lab.tracking.cleanup.plan import Action, CleanupPlan, PlannedRun

_MOST_SHOWN = 40
_LOST = {
    "delete": "delete",
    "purge": "erase for good rows, artifacts and models of",
    "checkpoints": "delete the checkpoints of",
}
_VERBS = {"delete": "deleted (asr-lab restore RUN brings it back)", "purge": "erased for good", "checkpoints": "freed"}


def _not_empty(context: click.Context, option: click.Parameter, text: str | None) -> str:
    """Refuse an empty value, as of an unset shell variable: an empty pattern would select every run."""
    if text is not None and not text.strip():
        raise AsrLabError(f"--{option.name} is empty", allowed=f"a value, or no --{option.name}")
    return text or ""


@click.command()
@click.option(
    "--days-old",
    metavar="DAYS|TIME",
    help="Only runs without activity for so many days, or since a time as for list --since.",
)
@click.option(
    "--keep-best",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=1,
    metavar="[K]",
    help="Spare the best K runs (1) of each family on the same data, and those that cannot be ranked.",
)
@click.option("--metric", callback=_not_empty, help="Metric for --keep-best.  [the family's deciding metric]")
@click.option(
    "--pattern", callback=_not_empty, help="Glob or part of a run's name, model type or family, case-insensitive."
)
@click.option("--family", callback=_not_empty, help="Only this family, such as adapter.")
@click.option("--failed", is_flag=True, help="Only runs that failed or were killed.")
@click.option("--stale-running", is_flag=True, help="Only runs whose process is gone, or silent elsewhere for a day.")
@click.option("--deleted", is_flag=True, help="With --purge: also deleted runs.")
@click.option("--checkpoints-only", is_flag=True, help="Delete only checkpoints; the runs stay.")
@click.option("--purge", is_flag=True, help="Erase rows, files and logged models for good.")
@click.option("--no-sizes", is_flag=True, help="Do not measure sizes: faster on a remote store.")
@backend_option
@plan_option
@yes_option
@format_option
def cleanup(
    checkpoints_only: bool,
    purge: bool,
    no_sizes: bool,
    backend: str,
    dry_run: bool,
    yes: bool,
    style: str,
    **selected: Any,
) -> None:
    """Delete runs, after showing which and why. All conditions must hold; --failed and --stale-running add up.

    Registered, pinned, archived and running runs are never deleted, nor parents and bases of runs that stay. Without
    --purge, `asr-lab restore` restores a run.

    \b
    Examples:
      asr-lab cleanup --days-old 7 --keep-best 3
      asr-lab cleanup --pattern "test_*" --failed --purge
      asr-lab cleanup --stale-running --yes
      asr-lab cleanup --days-old 1 --checkpoints-only
      asr-lab cleanup --deleted --days-old 30 --purge
    """
    if purge and checkpoints_only:
        raise AsrLabError("--purge erases whole runs, --checkpoints-only leaves them", allowed="one of the two")
    if selected["deleted"] and not purge:
        raise AsrLabError("--deleted means what is deleted already", allowed="together with --purge")
    if selected["days_old"] is not None:
        selected["days_old"] = parse_days(selected["days_old"])
    limit_retries()
    from asr_lab.tracking.cleanup import apply
    from asr_lab.tracking.cleanup import plan as planning
    from asr_lab.tracking.cleanup.database_rows import erases_rows
    from asr_lab.tracking.moved_store import refuse_moved
    from asr_lab.tracking.store import client as tracking_client
    from asr_lab.tracking.store import tracking_uri

    client = tracking_client()
    action: Action = "purge" if purge else "checkpoints" if checkpoints_only else "delete"
    selection = planning.Selection(**selected | {"keep_best": selected["keep_best"] or 0})
    planned = planning.plan(client, selection, action, erases_rows=erases_rows(backend))
    if not no_sizes:
        going = [line.record for line in planned.going]
        with progress("measuring", len(going)) as done:
            planned = planning.with_sizes(planned, apply.measure(client, going, action, done))
    _show(planned, style)
    if dry_run or not planned.going:
        return
    refuse_moved(tracking_uri(), backend)
    ask(_question(planned, action), yes)
    with progress("cleaning up", len(planned.going)) as done:
        left = apply.apply(client, planned, backend_store_uri=backend, done=done)
    _report(planned, left, action, rows=erases_rows(backend))


def _show(planned: CleanupPlan, style: str) -> None:
    import pandas as pd

    from asr_lab.tracking.clock import store_now_ms

    def row(line: PlannedRun) -> dict[str, Any]:
        one = line.record
        size = megabytes(line.size) if style == "table" else line.size
        return {
            "run": one.name,
            "id": one.run_id[:8],
            "family": one.family,
            "age": age((store_now_ms() - one.since) / 1000),
            "size" if style == "table" else "bytes": size if line.goes else None,
            "what": "goes" if line.goes else "stays",
            "why": line.why,
        }

    lines = planned.going + planned.staying
    if style != "table":
        show_table(pd.DataFrame([row(line) for line in lines]), style)
        return
    for part in (planned.going, planned.staying):
        if part:
            frame = pd.DataFrame([row(line) for line in part[:_MOST_SHOWN]])
            show_table(Table(frame=frame, expendable=("family", "age", "id")), style)
        if len(part) > _MOST_SHOWN:
            echo(f"  and {len(part) - _MOST_SHOWN} more (--format csv shows all)")
    going, staying = len(planned.going), len(planned.staying)
    if not lines:
        echo("no run is selected")
        return
    total = "" if planned.size is None else f", {megabytes(planned.size)}"
    goes, stays = "goes" if going == 1 else "go", "stays" if staying == 1 else "stay"
    echo(f"{counted(going, 'selected run')} {goes}{total}; {staying} {stays}")


def _question(planned: CleanupPlan, action: Action) -> str:
    """Return the question: what is deleted, of which runs."""
    going = [line.record for line in planned.going]
    size = "" if planned.size is None else f", {megabytes(planned.size)}"
    return f"{_LOST[action]} {named(going)} ({counted(len(going), 'run')}{size})?"


def _report(planned: CleanupPlan, left: list[PlannedRun], action: Action, *, rows: bool) -> None:
    out = console(stderr=True)
    for line in left:
        out.say("left alone: {}, {}", line.record.name, line.why)
    out.print(f"{counted(len(planned.going) - len(left), 'run')} {_VERBS[action]}")
    if action == "purge" and not rows:
        warn_hidden_rows()


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...", type=RunName())
@click.option("--undo", is_flag=True, help="Unpin them.")
def keep(names: tuple[str, ...], undo: bool) -> None:
    """Pin runs, so that no cleanup deletes them.

    \b
    Examples:
      asr-lab keep base-1a2b3c4d john-5e6f7a8b
      asr-lab keep base-1a2b3c4d --undo
    """
    limit_retries()
    from asr_lab.tracking.cleanup import apply
    from asr_lab.tracking.queries.find import find_each
    from asr_lab.tracking.store import client

    runs = find_each(names)
    apply.keep(client(), runs, undo=undo)
    for run in runs:
        echo(f"{run.info.run_name}: {'no longer kept' if undo else 'kept'}")


@click.command()
@click.argument("run", type=RunName())
@click.argument("text")
@click.option("--replace", is_flag=True, help="Replace the existing description.")
def note(run: str, text: str, replace: bool) -> None:
    """Add TEXT (Markdown) to the description of RUN, which the MLflow UI shows on top of it.

    \b
    Examples:
      asr-lab note base-1a2b3c4d "The microphone was broken: do not compare."
      asr-lab note base-1a2b3c4d "Final for the paper." --replace
    """
    if not text.strip():
        raise AsrLabError("the note is empty", allowed="some text")
    limit_retries()
    from asr_lab.tracking.cleanup import apply
    from asr_lab.tracking.queries.find import find_run
    from asr_lab.tracking.store import client

    noted = find_run(run)
    apply.note(client(), noted, text, replace=replace)
    echo(f"{noted.info.run_name}: noted")
