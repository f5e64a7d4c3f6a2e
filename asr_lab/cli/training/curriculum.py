"""`asr-lab curriculum`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, keys_help
from asr_lab.cli.jobs import Jobs, job_options
from asr_lab.cli.training.experiments import run, show_outcome
from asr_lab.cli.training.training_options import loaded, merged_option, training_options


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("curriculum"))
@training_options
@merged_option
@job_options
@click.option("--phase", default="all", show_default=True, help="all, or 1, 2, 3 or 4.")
@click.option("--resume-from", default="", metavar="RUN|DIR", help="Start from the best model of this run or folder.")
def curriculum(
    config: Path | None, keys: tuple[str, ...], phase: str, resume_from: str, data: str | None, texts: tuple[str, ...],
    dry_run: bool, new_run: bool, offline: bool, merged: bool, jobs: Jobs,
) -> None:  # fmt: skip
    """Fine-tune a base of the wav2vec2 family in phases of growing data, each from the best model of the previous one.
    After each phase a gate checks its WER: up to phaseN.accept the curriculum continues, above it stops.

    \b
    Examples:
      asr-lab curriculum experiments/curriculum/korean-children.yaml
      asr-lab curriculum experiments/curriculum/korean-children.yaml --dry-run
      asr-lab curriculum experiments/curriculum/korean-children.yaml phase2.lr=1e-4 phase2.accept=0.25
      asr-lab curriculum experiments/curriculum/korean-children.yaml --phase 3 --resume-from children-phase2-1a2b3c4d

    The same command resumes an interrupted curriculum; finished phases are not repeated.
    """
    settings = config_keys(texts, keys)
    experiment = loaded(config, settings, "curriculum", command="curriculum", data=data, merged=merged)
    from asr_lab.recipes.curriculum.phases import chosen

    only = chosen(phase)
    if jobs.engine and not dry_run:
        jobs.run_command()
        return
    start = "" if dry_run else _model(resume_from)
    show_outcome(
        run(experiment, dry_run=dry_run, new_run=new_run, offline=offline, demo=False, only=only, resume_from=start)
    )


def _model(resume_from: str) -> str:
    """Return a folder or a URI as given, or the URI of a run's model."""
    if not resume_from or ":/" in resume_from or Path(resume_from).is_dir():
        return resume_from

    from asr_lab.tracking.queries.find import find_run

    return f"runs:/{find_run(resume_from).info.run_id}/model"
