"""`asr-lab train`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, keys_help
from asr_lab.cli.jobs import Jobs, job_options
from asr_lab.cli.training.experiments import run, show_outcome
from asr_lab.cli.training.training_options import loaded, merged_option, training_options
from asr_lab.families import taken_by


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help(*taken_by("train")))
@training_options
@merged_option
@job_options
def train(
    config: Path | None, keys: tuple[str, ...], data: str | None, texts: tuple[str, ...], dry_run: bool, new_run: bool,
    offline: bool, merged: bool, jobs: Jobs,
) -> None:  # fmt: skip
    """Train the model that CONFIG describes; the best epoch is saved, tested and registered. Several configs are
    trained in order, and each may start from models that earlier ones registered.

    \b
    Examples:
      asr-lab train experiments/deepspeech2/base.yaml
      asr-lab train experiments/deepspeech2/base.yaml train.batch_size=32 model.hidden_size=320
      asr-lab train experiments/deepspeech2/base.yaml --dry-run
      asr-lab train experiments/wav2vec2/xlsr-lora.yaml --data corpora/mine
      asr-lab train experiments/wav2vec2/xlsr-lora.yaml data.train=... --merged
      asr-lab train experiments/deepspeech2/finetune.yaml model.pretrained=models:/deepspeech2@champion
      asr-lab train experiments/pronunciation/cross.yaml main_lr=2e-4 data.train=...
      asr-lab train experiments/pronunciation/encoder.yaml experiments/pronunciation/cross.yaml
      torchrun --nproc-per-node 2 -m asr_lab train experiments/deepspeech2/base.yaml
      asr-lab train experiments/deepspeech2/base.yaml --engine slurm --resources=gpus=4,partition=gpu

    The same command resumes an interrupted run, and goes on with its job.
    """
    more = [Path(key) for key in keys if key.endswith((".yaml", ".yml")) and "=" not in key]
    settings = config_keys(texts, [key for key in keys if Path(key) not in more])
    families = taken_by("train")
    configs = (config, *more)
    experiments = [loaded(one, settings, *families, command="train", data=data, merged=merged) for one in configs]
    if jobs.engine and not dry_run:
        jobs.run_command()
        return
    for experiment in experiments:
        show_outcome(run(experiment, dry_run=dry_run, new_run=new_run, offline=offline))
