"""`asr-lab train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.options import TAKES_CONFIG_KEYS, config_keys, console, keys_help, say_where_to_look
from asr_lab.cli.tables import show
from asr_lab.cli.training import loaded, merged_option, recording, training_options
from asr_lab.config.identity import differences
from asr_lab.config.schema import TRAINED, PronunciationExperiment, TrainExperiment
from asr_lab.units import hms

if TYPE_CHECKING:
    from rich.console import Console

    from asr_lab.recipes import pronunciation
    from asr_lab.recipes import train as recognition
    from asr_lab.recipes.plan import AnyPlan
    from asr_lab.training.recorder import ModelStore


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help(*TRAINED))
@training_options
@merged_option
def train(
    config: Path, keys: tuple[str, ...], texts: tuple[str, ...], dry_run: bool, new_run: bool, offline: bool,
    merged: bool,
) -> None:  # fmt: skip
    """Train the model that CONFIG describes; the best epoch is kept, tested and registered. Of several configs, one
    after the other, each may start from what those before it registered.

    \b
    Examples:
      asr-lab train experiments/deepspeech2/base.yaml
      asr-lab train experiments/deepspeech2/base.yaml train.batch_size=32 model.hidden_size=320
      asr-lab train experiments/deepspeech2/base.yaml --dry-run
      asr-lab train experiments/wav2vec2/xlsr-lora.yaml data.train=... data.val=... data.test=...
      asr-lab train experiments/wav2vec2/xlsr-lora.yaml data.train=... --merged
      asr-lab train experiments/deepspeech2/finetune.yaml model.pretrained=models:/deepspeech2@champion
      asr-lab train experiments/pronunciation/cross.yaml main_lr=2e-4 data.train=...
      asr-lab train experiments/pronunciation/encoder.yaml experiments/pronunciation/cross.yaml
      torchrun --nproc-per-node 2 -m asr_lab train experiments/deepspeech2/base.yaml

    The same command continues a run that was cut off.
    """
    more = [Path(key) for key in keys if key.endswith((".yaml", ".yml")) and "=" not in key]
    settings = config_keys(texts, [key for key in keys if Path(key) not in more])
    experiments = [loaded(one, settings, *TRAINED, merged=merged) for one in (config, *more)]
    for experiment in experiments:  # all mistakes are told before the first starts
        assert isinstance(experiment, TrainExperiment | PronunciationExperiment)
        _train(experiment, dry_run, new_run, offline)


def _train(experiment: TrainExperiment | PronunciationExperiment, dry_run: bool, new_run: bool, offline: bool) -> None:
    """Show the plan of one experiment, or train it and say what came of it."""
    out = console()
    from asr_lab.recipes import demo
    from asr_lab.tracking.registry import MlflowStore

    if any(demo.is_demo(path) for path in (experiment.data.train, experiment.data.val, experiment.data.test)):
        demo.ensure_corpus(out, make=not dry_run)
    store = MlflowStore()
    if dry_run:
        _show_plan(_plan(experiment, store))
        return
    tracker, told, first = recording(out, new_run=new_run, offline=offline)
    if isinstance(experiment, PronunciationExperiment):
        from asr_lab.recipes import pronunciation

        assessed = pronunciation.train(experiment, tracker, told, store=store)
        if first:
            _say_assessed(assessed, out)
        return
    from asr_lab.recipes import train as recipe

    done = recipe.train(experiment, tracker, told, store=store)
    if first:
        _say_recognised(done, out)


def _plan(experiment: TrainExperiment | PronunciationExperiment, store: ModelStore) -> AnyPlan:
    if isinstance(experiment, PronunciationExperiment):
        from asr_lab.recipes import pronunciation_plan

        return pronunciation_plan.plan(experiment, store)
    from asr_lab.recipes.plan import plan

    return plan(experiment, store)


def _say_recognised(done: recognition.Trained, out: Console) -> None:
    out.print()
    out.print(f"[bold]{done.run_name}[/]")
    out.print(f"  val/wer   {done.val_wer:.1%}")
    if done.test:
        interval = f"95 % interval {done.test.low:.1%} to {done.test.high:.1%}"
        out.print(f"  test/wer  {done.test.value:.1%}, {interval}")
    _say_where(done, out)


def _say_assessed(done: pronunciation.Trained, out: Console) -> None:
    """Model, trivial predictors, GOP and fusion on each split, one below the other."""
    out.print()
    out.print(f"[bold]{done.run_name}[/]")
    if len(done.table) and not out.quiet:
        show(done.table, "table")
    for note in done.notes:
        out.print(f"  [yellow]note[/] {note}")
    _say_where(done, out)


def _say_where(done: recognition.Trained | pronunciation.Trained, out: Console) -> None:
    out.print(f"  model     {done.model_uri}\n  time      {hms(done.seconds)}")
    say_where_to_look(out, done.run_id, 9)


def _show_plan(planned: AnyPlan) -> None:
    out = console()
    out.print("[bold]differs from the defaults[/]")
    for key, value in differences(planned.config).items():
        out.print(f"  {key} = {value}")
    out.print("[bold]data[/]")
    for name, split in planned.splits.items():
        minutes = f"{split.hours * 60:.1f} min"
        out.print(f"  {name:5} {len(split.cuts):6} utterances  {minutes:>10}  digest {split.digest[:8]}")
    for warning in planned.warnings():
        out.print(f"  [yellow]warning[/] {warning}")
    out.print("[bold]model[/]")
    if planned.base_uri:
        out.print(f"  fine-tuned from {planned.base_uri}")
    vocabulary = len(planned.recognizer.vocabulary)
    learning = (
        f"{planned.num_trainable / 1e6:.2f} M of them learn, " if planned.num_trainable < planned.num_params else ""
    )
    out.print(f"  {planned.num_params / 1e6:.2f} M parameters, {learning}{vocabulary} classes")
    out.print("nothing was trained or recorded (--dry-run)")
