"""`asr-lab evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.options import (
    TAKES_CONFIG_KEYS,
    config_keys,
    console,
    keys_help,
    offline_option,
    overrides_option,
    say_where_to_look,
)
from asr_lab.cli.tables import show
from asr_lab.config.load import load
from asr_lab.config.schema import EvaluateExperiment
from asr_lab.reports.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from asr_lab.recipes.evaluate import Evaluated
    from asr_lab.recipes.evaluate_pronunciation import AssessedData


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("evaluate"))
@click.option("--model", help="The recogniser: registry URI, runs:/ID/model, or folder.")
@click.option("--data", help="Manifest to score on.")
@click.option("--adapter", help="A person's adapter: its name, its file, or its registry URI.")
@click.option("--config", type=click.Path(path_type=Path), help="A config file, laid under the options.")
@click.argument("keys", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE]...")
@overrides_option
@offline_option
@click.option("--audio", is_flag=True, help="Put the audio into the page; it is people's voices, so only where asked.")
@click.option("--save-predictions", is_flag=True, help="Keep all that is said of each utterance as JSON lines too.")
@click.option("--learner-pages", is_flag=True, help="Pronunciation: a page for each speaker, with their audio.")
def evaluate(
    model: str | None,
    data: str | None,
    adapter: str | None,
    config: Path | None,
    keys: tuple[str, ...],
    texts: tuple[str, ...],
    audio: bool,
    save_predictions: bool,
    learner_pages: bool,
    offline: bool,
) -> None:
    """WER with its interval and CER of a recogniser on a manifest and its slices (age, gender, noise, duration),
    recorded as a run with a page that shows, filters and, where asked, plays every utterance.

    \b
    Examples:
      asr-lab evaluate --model models:/deepspeech2@champion --data corpora/demo/test.jsonl.gz
      asr-lab evaluate --model models:/deepspeech2@champion --adapter john \\
          --data corpora/demo/persons/john/test.jsonl.gz --audio
      asr-lab evaluate --model models:/pronunciation-cross@champion --data corpora/l2/test-hard.jsonl.gz \\
          --save-predictions --learner-pages
    """
    options = {"evaluate.model": model, "evaluate.data": data, "evaluate.adapter": adapter}
    flags = {"audio": audio, "save_predictions": save_predictions, "learners": learner_pages}
    options |= {f"evaluate.{name}": "true" for name, given in flags.items() if given}
    chosen = {key: value for key, value in options.items() if value}
    experiment = load(config, chosen | config_keys(texts, keys), "evaluate")
    assert isinstance(experiment, EvaluateExperiment)
    from asr_lab.models import load_model
    from asr_lab.recipes import evaluate as recipe
    from asr_lab.recipes.evaluate_pronunciation import AssessedData
    from asr_lab.tracking.recorder import MlflowTracker
    from asr_lab.tracking.registry import MlflowStore

    out = console()
    done = recipe.evaluate(experiment, MlflowTracker(offline=offline), MlflowStore(), load_model, out)
    if isinstance(done, AssessedData):
        _say_assessed(done, out)
    else:
        tell(done, experiment.evaluate.split, out)


def _say_assessed(done: AssessedData, out: Console) -> None:
    from asr_lab.metrics.pronunciation import SCORER

    out.print(f"[bold]{done.run_name}[/]")
    show(done.summary, "table")
    for name, interval in (("error_f1", done.assessed.f1["model"]), ("pr_auc", done.assessed.pr_auc)):
        if interval:
            bounds = f"95 % interval {interval.low:.3f} to {interval.high:.3f}"
            out.print(f"  {name:8} {interval.value:.3f}, {bounds} ({SCORER})")
    for note in done.notes:
        out.print(f"  [yellow]note[/] {note}")
    out.print(f"  {len(done.assessed.table)} utterances, {done.seconds:.1f} s")
    say_where_to_look(out, done.run_id, 9)


def tell(done: Evaluated, split: str, out: Console) -> None:
    """Print the figures of an evaluation and of its slices."""
    from asr_lab.metrics import error_rates, slices

    out.print(f"[bold]{done.run_name}[/]")
    interval = f"95 % interval {done.wer.low:.1%} to {done.wer.high:.1%}"
    out.print(f"  {split}/wer  {done.wer.value:.1%}, {interval}")
    out.print(f"  {split}/cer  {error_rates.cer(done.table):.1%}")
    if "phonemes" in done.table:
        out.print(f"  {split}/per  {error_rates.per(done.table):.1%}")
    out.print(f"  {len(done.table)} utterances, {done.seconds:.1f} s")
    by_slice = slices.slices(done.table)
    short = by_slice[by_slice.groupby("slice")["value"].transform("size") <= _MOST_VALUES]
    if len(short):
        columns = short[["slice", "value", "utterances", "wer", "low", "high", "cer"]]
        show(Table(frame=columns, formats={"low": "percent", "high": "percent"}), "table")
    out.print(f"  {'page':9} eval/{split}.html of the run")
    say_where_to_look(out, done.run_id, 9)


_MOST_VALUES = 20  # of a slice that is printed
