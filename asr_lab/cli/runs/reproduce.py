"""`asr-lab reproduce`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from asr_lab.cli.completion import ConfigKey, RunName
from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, overrides_option
from asr_lab.cli.options import Finite, console, format_option
from asr_lab.cli.tables import show
from asr_lab.config.load import load
from asr_lab.errors import AsrLabError, listing
from asr_lab.system.distributed import is_launched
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.config.schema import Experiment
    from asr_lab.tracking.queries.runs import Run

_USUAL_TOLERANCE = 0.02
_NOT_CODE = ("hardware", "processes", "seed", "data ", "base", "adapter")  # any other difference is code or a package


@click.command(context_settings=TAKES_CONFIG_KEYS)
@click.argument("run", type=RunName())
@click.argument("keys", nargs=-1, type=ConfigKey(), metavar="[KEY=VALUE]...")
@overrides_option
@click.option("--tolerance", type=Finite(0), help="Largest difference of a metric that counts as "
              "equal.  [0 where code, versions, hardware and data are the same, else 0.02]")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only report what differs; run nothing.")
@click.option("--check", "checks", is_flag=True, hidden=True, help="As --dry-run.")
@click.option("--anyway", is_flag=True, help="Run even if the data differ.")
@format_option
def reproduce(
    run: str,
    keys: tuple[str, ...],
    texts: tuple[str, ...],
    tolerance: float | None,
    dry_run: bool,
    checks: bool,
    anyway: bool,
    style: str,
) -> None:
    """Repeat RUN from its configuration, as its child, and compare all metrics at all steps.

    Differences are listed first: code, versions, hardware, processes, data, models, seed; with them the commands that
    restore code and packages, also what was not committed. Nothing is checked out or installed, and registry and
    adapters are not changed. KEY=VALUE gives the path of moved data.

    \b
    Examples:
      asr-lab reproduce base-1a2b3c4d --dry-run
      asr-lab reproduce base-1a2b3c4d
      asr-lab reproduce john-5e6f data.train=/mnt/corpora/john/all.jsonl.gz --tolerance 0.01
    """
    from asr_lab.recipes.reproduce import again, refuse_parts
    from asr_lab.tracking import reproduction
    from asr_lab.tracking.queries.find import find_run

    _refuse_many_processes()
    original = find_run(run)
    config = load(reproduction.config_of(original), reproduction.pinned(original) | config_keys(texts, keys))
    refuse_parts(config, original.info.run_id)
    only_reports = dry_run or checks
    differing = _report_circumstances(original, config, style, with_table=style == "table" or only_reports)
    if only_reports:
        return
    if not anyway:
        _refuse_other_data(run, differing)
    if tolerance is None:
        tolerance = _USUAL_TOLERANCE if differing else 0.0
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.tracker import MlflowTracker

    store = MlflowStore()
    repeated = again(config, original.info.run_id, MlflowTracker(new_run=True), store, console(stderr=True))
    _report_figures(original.info.run_id, reproduction.arrived(repeated), tolerance, differing, style)


def _report_circumstances(original: Run, config: Experiment, style: str, *, with_table: bool) -> list[str]:
    """Print what is as it was, and in a terminal how to restore code and packages; return what differs."""
    from asr_lab.tracking import reproduction

    out, then_and_now = console(), reproduction.circumstances(original, config)
    if style == "table":
        out.say("[bold]{}[/]", original.info.run_name)
    if with_table:
        show(then_and_now, style)
    differing = [str(what) for what in then_and_now["what"][~then_and_now["same"]]]
    if style == "table" and not all(what.startswith(_NOT_CODE) for what in differing):
        lines = reproduction.restoring(original)
        out.print("to restore its code and packages:" if lines else "nothing of its code and packages is recorded")
        for line in lines:
            out.print(f"  {line}", markup=False, highlight=False)
    return differing


def _refuse_other_data(run: str, differing: Sequence[str]) -> None:
    if changed := [what for what in differing if what.startswith(("data ", "base", "adapter"))]:
        raise AsrLabError(
            f"{listing(changed)}: not what the run had",
            allowed="the same data, or --anyway",
            next_command=f"asr-lab reproduce {shlex.quote(run)} data.train=PATH, where they have moved",
        )


def _report_figures(run_id: str, repeated: str, tolerance: float, differing: Sequence[str], style: str) -> None:
    """Compare, record and print the figures of a run and its repetition; raises `AsrLabError` if they differ."""
    from asr_lab.tracking import reproduction

    table = reproduction.figures(run_id, repeated, tolerance)
    verdict = reproduction.verdict_of(table)
    reproduction.record(repeated, verdict, table)
    show(table, style)
    if verdict == reproduction.DIFFERENT:
        wrong = table[table["verdict"] == verdict]["metric"]
        which = f"{len(wrong)} of {len(table)} figures differ by more than {tolerance:g}: {listing(wrong, 4)}"
        raise AsrLabError(
            f"not reproduced: {which}",
            hint=f"differs: {listing(differing)}" if differing else "nothing differs but the process",
        )
    if style == "table":
        console().print(f"reproduced, {verdict}: {counted(len(table), 'figure')} (run {repeated[:8]})")


def _refuse_many_processes() -> None:
    if is_launched():
        raise AsrLabError(
            "a run is reproduced by one process, and torchrun started this one as one of several",
            next_command="asr-lab reproduce RUN",
        )
