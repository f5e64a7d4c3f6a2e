"""`asr-lab lm`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from asr_lab.cli.completion import ConfigKey, ModelName
from asr_lab.cli.config_options import config_keys, keys_help
from asr_lab.cli.options import console, dry_run_option
from asr_lab.cli.training.experiments import NOTHING_DONE, show_outcome, show_summary
from asr_lab.config.load import load
from asr_lab.config.schema import LanguageModelExperiment
from asr_lab.errors import AsrLabError


@click.command("lm", epilog=keys_help("lm"))
@click.argument("texts", nargs=-1, type=ConfigKey(("lm",)), metavar="TEXT|MANIFEST... [KEY=VALUE]...")
@click.option("--order", help="Words of the longest n-grams, 2 to 6.  [3]")
@click.option("--units", help="words, characters (Korean syllables) or jamo.  [words]")
@click.option("--out", help="The ARPA file to write, NAME.arpa.")
@click.option("--test", "tests", multiple=True, help="Text or manifest for perplexity, unknown words and overlap.")
@click.option("--model", type=ModelName("models:/"), help="Normalise text as this recogniser does.")
@click.option("--register", "name", help="Also register it under this name.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@dry_run_option
def lm(
    texts: tuple[str, ...],
    order: str | None,
    units: str | None,
    out: str | None,
    tests: tuple[str, ...],
    model: str | None,
    name: str | None,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Train an n-gram language model (Kneser-Ney) on text files (one sentence per line) and manifests.

    The recogniser's text normaliser has to be that of the text: --model takes it from there. A model of words is for
    recognisers that write word boundaries; one of characters or jamo, for recognisers of these units, knows no words.

    \b
    Examples:
      asr-lab lm corpora/demo/train.jsonl.gz --test corpora/demo/test.jsonl.gz --out demo.arpa
      asr-lab lm news.txt corpora/kspon/train.jsonl.gz --order 6 --units jamo --out jamo.arpa
      asr-lab lm corpora/demo/train.jsonl.gz --out demo.arpa --register demo-lm
    """
    words = [one for one in texts if "=" not in one or Path(one).exists()]
    options: dict[str, Any] = {"lm.texts": words, "lm.order": order, "lm.units": units, "lm.out": out}
    options |= {"lm.tests": list(tests), "run.register_as": name}
    chosen = {key: value for key, value in options.items() if value}
    chosen |= _normalizer(model) if model else {}
    experiment: LanguageModelExperiment = load(
        None, chosen | config_keys((), [one for one in texts if one not in words]), "lm"
    )
    if experiment.run.register_as and not dry_run:
        from asr_lab.tracking.connection import check_usable

        check_usable()
    path = Path(experiment.lm.out)
    if path.exists() and not overwrite and not dry_run:
        raise AsrLabError("there is a file already where this one would go", where=str(path), allowed="--overwrite")
    _make(experiment, dry_run)


def _make(experiment: LanguageModelExperiment, dry_run: bool) -> None:
    from asr_lab.recipes import language_model
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.tracker import MlflowTracker

    terminal, store = console(), MlflowStore()
    if experiment.run.register_as and not dry_run:
        done = language_model.train(experiment, MlflowTracker(new_run=True), terminal, store=store)
        show_outcome(done, terminal)
        used = done.uri
    else:
        planned = language_model.plan(experiment, store)
        used = experiment.lm.out if dry_run else str(language_model.write(planned))
        show_summary(planned.summary, terminal)
    if dry_run:
        terminal.print(NOTHING_DONE)
        return
    lm_key = shlex.quote(f"decode.lm={used}")
    terminal.say("  next  {}", f"asr-lab evaluate --model MODEL --data VAL {lm_key} --tune")


def _normalizer(model: str) -> dict[str, Any]:
    """Return the config keys of a recogniser's text normaliser."""
    from dataclasses import asdict

    from asr_lab.models import load_model
    from asr_lab.tracking.models.model_store import MlflowStore

    store = MlflowStore()
    recognizer = load_model(store.resolve(store.resolve_version(model)), store.resolve)
    return {f"text.{key}": value for key, value in asdict(recognizer.normalizer).items()}
