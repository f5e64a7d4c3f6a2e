"""`asr-lab evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.options import TAKES_CONFIG_KEYS, config_keys, keys_help, offline_option, overrides_option
from asr_lab.cli.training.experiments import run, show_outcome
from asr_lab.config.load import load


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("evaluate"))
@click.option("--model", help="The recogniser: registry URI, runs:/ID/model, or folder.")
@click.option("--data", help="Manifest to score on.")
@click.option("--adapter", help="A person's adapter: its name, its file, or its registry URI.")
@click.option("--config", type=click.Path(path_type=Path), help="A config file, laid under the options.")
@click.argument("keys", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE]...")
@overrides_option
@offline_option
@click.option("--audio", is_flag=True, help="Put the audio into the page; it is people's voices, so only where asked.")
@click.option("--save-predictions", is_flag=True, help="Log all predictions of each utterance as JSON lines too.")
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
    show_outcome(run(experiment, dry_run=False, offline=offline, demo=False))
