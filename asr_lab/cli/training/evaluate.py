"""`asr-lab evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.completion import AdapterName, ConfigKey
from asr_lab.cli.options import TAKES_CONFIG_KEYS, config_keys, keys_help, offline_option, overrides_option
from asr_lab.cli.training.experiments import run, show_outcome
from asr_lab.config.load import load


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("evaluate"))
@click.option("--model", help="The recogniser: registry URI, runs:/ID/model, or folder.")
@click.option("--data", help="Manifest of the test data.")
@click.option("--adapter", type=AdapterName(), help="A speaker's adapter: name, file, or registry URI.")
@click.option("--config", type=click.Path(path_type=Path), help="Config file; options override it.")
@click.argument("keys", nargs=-1, type=ConfigKey(("evaluate",)), metavar="[KEY=VALUE]...")
@overrides_option
@offline_option
@click.option("--audio", is_flag=True, help="Include the audio in the page; off by default, as voices are private.")
@click.option("--save-predictions", is_flag=True, help="Also log all predictions of each utterance as JSON lines.")
@click.option(
    "--tune",
    is_flag=True,
    help="Search the weights of decode.lm for the lowest WER on DATA, which should be validation data.",
)
@click.option("--learner-pages", is_flag=True, help="Pronunciation: log a page with audio for each speaker.")
def evaluate(
    model: str | None,
    data: str | None,
    adapter: str | None,
    config: Path | None,
    keys: tuple[str, ...],
    texts: tuple[str, ...],
    audio: bool,
    save_predictions: bool,
    tune: bool,
    learner_pages: bool,
    offline: bool,
) -> None:
    """Evaluate a recogniser on a manifest: WER with its interval and CER, in total and by slice (age, gender, SNR,
    duration), recorded as a run with a page of all utterances to filter and, with --audio, to play.

    \b
    Examples:
      asr-lab evaluate --model models:/deepspeech2@champion --data corpora/demo/test.jsonl.gz
      asr-lab evaluate --model models:/deepspeech2@champion --adapter john \\
          --data corpora/demo/persons/john/test.jsonl.gz --audio
      asr-lab evaluate --model models:/pronunciation-cross@champion --data corpora/l2/test-hard.jsonl.gz \\
          --save-predictions --learner-pages
      asr-lab evaluate --model models:/deepspeech2@champion --data corpora/demo/val.jsonl.gz decode.lm=demo.arpa --tune
    """
    options = {"evaluate.model": model, "evaluate.data": data, "evaluate.adapter": adapter}
    flags = {"audio": audio, "save_predictions": save_predictions, "learners": learner_pages, "tune": tune}
    options |= {"evaluate.split": "val"} if tune else {}
    options |= {f"evaluate.{name}": "true" for name, given in flags.items() if given}
    chosen = {key: value for key, value in options.items() if value}
    experiment = load(config, chosen | config_keys(texts, keys), "evaluate")
    show_outcome(run(experiment, dry_run=False, offline=offline, demo=False))
