"""`asr-lab curriculum`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.options import TAKES_CONFIG_KEYS, config_keys, console, keys_help, say_where_to_look
from asr_lab.cli.tables import show
from asr_lab.cli.training import loaded, merged_option, recording, training_options
from asr_lab.config.schema import CurriculumExperiment
from asr_lab.reports.table import Table
from asr_lab.units import hms


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("curriculum"))
@training_options
@merged_option
@click.option("--phase", default="all", show_default=True, help="all, or one of 1, 2, 3, 4.")
@click.option("--resume-from", default="", metavar="RUN|DIR", help="Start from the best model of this run, or folder.")
def curriculum(
    config: Path, keys: tuple[str, ...], phase: str, resume_from: str, texts: tuple[str, ...], dry_run: bool,
    new_run: bool, offline: bool, merged: bool,
) -> None:  # fmt: skip
    """Fine-tune a base of the wav2vec2 family by phases: more data each, from the best of the one before, with a gate
    behind each. A phase between its target and its lowest acceptable WER goes on, one that misses it stops.

    \b
    Examples:
      asr-lab curriculum experiments/curriculum/korean-children.yaml
      asr-lab curriculum experiments/curriculum/korean-children.yaml --dry-run
      asr-lab curriculum experiments/curriculum/korean-children.yaml phase2.lr=1e-4 phase2.accept=0.25
      asr-lab curriculum experiments/curriculum/korean-children.yaml --phase 3 --resume-from children-phase2-1a2b3c4d

    The same command continues a curriculum that was cut off; phases that are done are not repeated.
    """
    experiment = loaded(config, config_keys(texts, keys), "curriculum", merged=merged)
    assert isinstance(experiment, CurriculumExperiment)
    from asr_lab.recipes import curriculum as recipe
    from asr_lab.recipes.phases import chosen

    only = chosen(phase)
    if dry_run:
        _show_plan(experiment)
        return
    from asr_lab.tracking.registry import MlflowStore

    tracker, out, first = recording(console(), new_run=new_run, offline=offline)
    start = _model(resume_from)
    done = recipe.curriculum(experiment, tracker, MlflowStore(), out, only=only, resume_from=start)
    if not first:
        return
    show(Table(frame=done.table(), formats={"target_wer": "percent", "accept_wer": "percent"}), "table")
    out.print(f"[bold]{done.run_name}[/]")
    out.print(f"  model  {done.model_uri}\n  time   {hms(done.seconds)}")
    say_where_to_look(out, done.run_id, 6)


def _model(resume_from: str) -> str:
    """The URI of what is resumed from: a folder or a URI as it is, of a run its model."""
    if not resume_from or ":/" in resume_from or Path(resume_from).is_dir():
        return resume_from
    from asr_lab.tracking.queries.find import find_run

    return f"runs:/{find_run(resume_from).info.run_id}/model"


def _show_plan(experiment: CurriculumExperiment) -> None:
    import pandas as pd

    from asr_lab.recipes.curriculum import plan

    splits, learned = plan(experiment)
    rows = []
    for number, cuts in learned.items():
        phase = experiment.phase(number)
        hours = sum(cut.duration for cut in cuts) / 3600
        rows.append(
            {
                "phase": number,
                "utterances": len(cuts),
                "hours": round(hours, 2),
                "epochs": phase.epochs,
                "lr": phase.lr,
                "patience": phase.patience,
                "target wer": phase.target,
                "accept wer": phase.accept,
                "learns": "everything" if phase.unfreeze else experiment.model.tune,
            }
        )
    show(Table(frame=pd.DataFrame(rows), formats={"target wer": "percent", "accept wer": "percent"}), "table")
    for name, split in splits.items():
        click.echo(f"  {name:5} {len(split.cuts):6} utterances, {split.hours:.2f} h, digest {split.digest[:8]}")
    click.echo("nothing was trained or recorded (--dry-run)")
