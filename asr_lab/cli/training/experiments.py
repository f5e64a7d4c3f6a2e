"""Plan or run an experiment of any family, and print its plan or outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asr_lab.cli.options import console, print_where_to_look
from asr_lab.cli.tables import show
from asr_lab.cli.training.training_options import recording
from asr_lab.config.identity import flat
from asr_lab.config.schema import Experiment
from asr_lab.config.schema.base import SPLITS
from asr_lab.errors import AsrLabError
from asr_lab.reports.table import Table

if TYPE_CHECKING:
    from asr_lab.interfaces.tracking import ModelStore, Tracker
    from asr_lab.recipes.recipe import Outcome, Plan
    from asr_lab.reports.summary import Content, Summary
    from asr_lab.system.terminal import Console

NOTHING_DONE = "nothing was trained or recorded (--dry-run)"


def run(
    experiment: Experiment,
    *,
    dry_run: bool,
    new_run: bool = False,
    offline: bool = False,
    demo: bool = True,
    stderr: bool = False,
    **more: Any,
) -> Outcome | None:
    """Print an experiment's plan, or run it and return its outcome: None for a plan and in torchrun's other processes.

    Splits that the experiment does not name are those of the corpus whose split it names (`with_own_splits`).
    With `demo`, create the demo's corpus and base if the experiment uses them and they are missing. `stderr`: print
    progress there. `more` is passed to the recipe.
    """
    from asr_lab.recipes.own_data import with_own_splits
    from asr_lab.recipes.recipe import recipe_of
    from asr_lab.tracking.connection import check_usable
    from asr_lab.tracking.models.model_store import MlflowStore

    if not offline:
        check_usable()
    out, recipe, store = console(stderr=stderr), recipe_of(experiment), MlflowStore()
    experiment, notes = with_own_splits(experiment)
    for note in notes:
        out.say("  [yellow]note[/] {}", note)
    if demo:
        make_demo_corpus(experiment.manifests().values(), out, make=not dry_run)
    if dry_run:
        show_plan(recipe.plan(experiment, store), out)
        return None
    tracker, out, first = recording(out, new_run=new_run, offline=offline)
    if demo:
        make_demo_base(flat(experiment), tracker, store, out)
    done = recipe.run(experiment, tracker, out, store=store, **more)
    return done if first else None


def make_demo_corpus(manifests: Iterable[str], out: Console, *, make: bool = True) -> None:
    """Create the demo corpus if one of the manifests belongs to it and it is missing."""
    from asr_lab.recipes import demo

    if any(demo.is_demo(path) for path in manifests):
        demo.ensure_corpus(out, make=make)


def make_demo_base(keys: Mapping[str, Any], tracker: Tracker, store: ModelStore, out: Console) -> None:
    """Train the demo's base if adapters are trained on it and on the demo corpus, and it is missing."""
    from asr_lab.recipes import demo

    on_demo = any(demo.is_demo(str(keys.get(f"data.{split}") or "")) for split in SPLITS)
    if on_demo and keys.get("adapter.base") == demo.BASE:
        demo.ensure_base(tracker, store, out)


def show_plan(planned: Plan, out: Console) -> None:
    """Print a plan, for `--dry-run`."""
    show_summary(planned.summary, out)
    out.warn(planned.warnings, indent="  ")
    out.print(NOTHING_DONE)


def show_outcome(done: Outcome | None, out: Console | None = None) -> None:
    """Print the outcome of a finished run, if any, and how to show it."""
    if done is None:
        return
    from asr_lab.tracking.models import registry

    out = out or console()
    out.print()
    summary = done.summary
    show_summary(summary, out)
    with suppress(AsrLabError):  # the run is over, whatever became of the store
        if standing := registry.standing(summary.model, "\n".join(summary.notes)):
            out.say("  [yellow]note[/] {}", standing)
    for command in summary.next_commands:
        out.say("  next  {}", command)
    print_where_to_look(out, done.run_id)


def show_summary(summary: Summary, out: Console) -> None:
    """Print title, tables, lines and notes of a summary."""
    if summary.title:
        out.say("[bold]{}[/]", summary.title)
    for heading, content in summary.parts:
        if heading:
            out.say("[bold]{}[/]", heading)
        _show_part(content, out)
    for note in summary.notes:
        out.say("  [yellow]note[/] {}", note)


def _show_part(content: Content, out: Console) -> None:
    if isinstance(content, Table):
        if len(content.frame) and not out.quiet:
            show(content, "table")
        return
    for line in _labelled(content) if isinstance(content, Mapping) else content:
        out.say("  {}", line)


def _labelled(rows: Mapping[str, Any]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"{label:{width}}  {text}" for label, text in rows.items()]
