"""`asr-lab train`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.options import TAKES_CONFIG_KEYS, config_keys, console, keys_help
from asr_lab.cli.training import recording, training_options
from asr_lab.config.identity import differences
from asr_lab.config.load import load
from asr_lab.config.schema import TRAINED, TrainExperiment
from asr_lab.units import hms


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help(*TRAINED))
@training_options
def train(
    config: Path, keys: tuple[str, ...], texts: tuple[str, ...], dry_run: bool, new_run: bool, offline: bool
) -> None:
    """Train the recogniser that CONFIG describes; the best epoch is kept, tested and registered.

    \b
    Examples:
      asr-lab train experiments/deepspeech2/base.yaml
      asr-lab train experiments/deepspeech2/base.yaml train.batch_size=32 model.hidden_size=320
      asr-lab train experiments/deepspeech2/base.yaml --dry-run
      asr-lab train experiments/wav2vec2/xlsr-lora.yaml data.train=... data.val=... data.test=...
      asr-lab train experiments/deepspeech2/finetune.yaml model.pretrained=models:/deepspeech2@champion
      torchrun --nproc-per-node 2 -m asr_lab train experiments/deepspeech2/base.yaml

    The same command continues a run that was cut off.
    """
    experiment = load(config, config_keys(texts, keys), *TRAINED)
    assert isinstance(experiment, TrainExperiment)
    out = console()
    from asr_lab.recipes import demo
    from asr_lab.recipes import train as recipe
    from asr_lab.recipes.plan import plan
    from asr_lab.tracking.registry import MlflowStore

    if any(demo.is_demo(path) for path in (experiment.data.train, experiment.data.val, experiment.data.test)):
        demo.ensure_corpus(out, make=not dry_run)
    if dry_run:
        _show_plan(plan(experiment, MlflowStore()))
        return
    tracker, out, first = recording(out, new_run=new_run, offline=offline)
    done = recipe.train(experiment, tracker, out, store=MlflowStore())
    if not first:
        return
    out.print()
    out.print(f"[bold]{done.run_name}[/]", highlight=False)
    out.print(f"  val/wer   {done.val_wer:.1%}", highlight=False)
    if done.test:
        interval = f"95 % interval {done.test.low:.1%} to {done.test.high:.1%}"
        out.print(f"  test/wer  {done.test.value:.1%}, {interval}", highlight=False)
    out.print(f"  model     {done.model_uri}\n  time      {hms(done.seconds)}", highlight=False)
    out.print(f"  look      asr-lab show {done.run_id[:8]}, or mlflow ui", highlight=False)


def _show_plan(planned: object) -> None:
    from asr_lab.recipes.plan import Plan

    assert isinstance(planned, Plan)
    out = console()
    out.print("[bold]differs from the defaults[/]")
    for key, value in differences(planned.config).items():
        out.print(f"  {key} = {value}", highlight=False)
    out.print("[bold]data[/]")
    for name, split in planned.splits.items():
        minutes = f"{split.hours * 60:.1f} min"
        out.print(
            f"  {name:5} {len(split.cuts):6} utterances  {minutes:>10}  digest {split.digest[:8]}",
            highlight=False,
        )
    for warning in planned.warnings():
        out.print(f"  [yellow]warning[/] {warning}", highlight=False)
    out.print("[bold]model[/]")
    if planned.base_uri:
        out.print(f"  fine-tuned from {planned.base_uri}", highlight=False)
    vocabulary = len(planned.recognizer.vocabulary)
    learning = (
        f"{planned.num_trainable / 1e6:.2f} M of them learn, " if planned.num_trainable < planned.num_params else ""
    )
    out.print(f"  {planned.num_params / 1e6:.2f} M parameters, {learning}{vocabulary} classes", highlight=False)
    out.print("nothing was trained or recorded (--dry-run)")
