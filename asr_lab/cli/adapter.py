"""`asr-lab adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.options import (
    TAKES_CONFIG_KEYS,
    config_keys,
    console,
    dry_run_option,
    given,
    keys_help,
    new_run_option,
    offline_option,
    overrides_option,
    say_where_to_look,
)
from asr_lab.cli.tables import show
from asr_lab.config.load import load
from asr_lab.config.schema import AdapterExperiment
from asr_lab.errors import AsrLabError

if TYPE_CHECKING:
    from rich.console import Console

    from asr_lab.recipes.person import Plan
    from asr_lab.tracking.recorder import MlflowTracker as Tracker
    from asr_lab.training.recorder import ModelStore


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("adapter"))
@click.option("--name", help="Whose adapter: letters, digits, `-`, `_`, Korean syllables.")
@click.option(
    "--base", help="The frozen base: registry URI, runs:/ID/model, or folder.  [models:/deepspeech2@champion]"
)
@click.option(
    "--data",
    help="Manifest, or folder with train and test manifests.  [the demo corpus' speaker of that name]",
)
@click.option("--each", help="An adapter for each value of a field of DATA, such as speaker; figures are pooled.")
@click.option("--hidden-dims", help="Width of each hidden layer.  [512,256]")
@click.option("--epochs", help="Epochs.  [10]")
@click.option("--config", type=click.Path(path_type=Path), help="A config file, laid under the options.")
@click.argument("keys", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE]...")
@overrides_option
@dry_run_option
@new_run_option
@offline_option
def adapter(
    name: str | None,
    base: str | None,
    data: str | None,
    each: str | None,
    hidden_dims: str | None,
    epochs: str | None,
    config: Path | None,
    keys: tuple[str, ...],
    texts: tuple[str, ...],
    dry_run: bool,
    new_run: bool,
    offline: bool,
) -> None:
    """Train one person's small MLP on a frozen base, and show what it gains on utterances it did not learn from.

    \b
    Examples:
      asr-lab adapter --name john
      asr-lab adapter --name mina --data corpora/mina/all.jsonl.gz
      asr-lab adapter --name mina --data corpora/mina/all.jsonl.gz data.cross_fit=5
      asr-lab adapter --each speaker --data corpora/class/all.jsonl.gz data.cross_fit=4 data.sizes=2,5,10

    Without --data, the demo corpus and the demo's base are made first if they are not there.
    """
    options = {"adapter.name": name, "adapter.base": base, "train.epochs": epochs, "data.each": each}
    options |= _manifests(data) | {"adapter.hidden_dims": hidden_dims.split(",") if hidden_dims else None}
    chosen = given(options, config, "adapter") | config_keys(texts, keys)
    if chosen.get("data.each") and chosen.setdefault("adapter.name", "everyone") != "everyone":
        raise AsrLabError("--each makes an adapter for everybody in DATA", allowed="either --each or --name")
    experiment = load(config, chosen, "adapter")
    assert isinstance(experiment, AdapterExperiment)
    out = console()
    from asr_lab.models.adapter import check_name

    check_name(experiment.adapter.name)
    from asr_lab.tracking.recorder import MlflowTracker
    from asr_lab.tracking.registry import MlflowStore

    tracker, store = MlflowTracker(new_run=new_run, offline=offline), MlflowStore()
    if not dry_run:
        tracker.announce("adapter")
    if not experiment.data.train:
        experiment = _of_the_demo(experiment, tracker, store, out, dry_run)
    (_everyone if experiment.data.each else _one)(experiment, tracker, store, out, dry_run)


def _of_the_demo(
    experiment: AdapterExperiment, tracker: Tracker, store: ModelStore, out: Console, dry_run: bool
) -> AdapterExperiment:
    """The experiment on the demo's speaker of that name; corpus and base are made if they are not there."""
    from asr_lab.recipes import demo

    if experiment.data.each:
        raise AsrLabError("--each needs --data", allowed="a manifest that holds the people", where="the command line")
    demo.ensure_corpus(out, make=not dry_run)
    experiment = demo.with_person(experiment)
    if experiment.adapter.base == demo.BASE and not dry_run:
        demo.ensure_base(tracker, store, out)
    return experiment


def _one(experiment: AdapterExperiment, tracker: Tracker, store: ModelStore, out: Console, dry_run: bool) -> None:
    from asr_lab.models import load_model
    from asr_lab.recipes.adapter import adapt
    from asr_lab.recipes.person import load_base, plan

    planned = plan(experiment, *load_base(experiment.adapter.base, store, load_model))
    if not dry_run:
        _tell(adapt(planned, tracker, out))
        return
    out.print(f"{planned.base_uri} + {planned.adapter()}")
    _tell_plan(planned)
    out.print("nothing was trained or recorded (--dry-run)")


def _everyone(experiment: AdapterExperiment, tracker: Tracker, store: ModelStore, out: Console, dry_run: bool) -> None:
    from asr_lab.models import load_model
    from asr_lab.recipes import everyone
    from asr_lab.recipes.person import load_base

    planned = everyone.plans(experiment, *load_base(experiment.adapter.base, store, load_model))
    if dry_run:
        for one in planned:
            _tell_plan(one)
        out.print("nothing was trained or recorded (--dry-run)")
        return
    done = everyone.adapt_everyone(experiment, planned, tracker, out)
    out.print()
    show(done.people()[["person", "utterances", *_FIGURES]], "table")
    if len(done.growth) > 1:
        show(done.growth[["learned_from", *_FIGURES]], "table")
    out.print(f"[bold]{len(done.adapted)} people, pooled[/]")
    for label, text in done.gain.rows().items():
        out.print(f"  {label:16} {text}")
    say_where_to_look(out, done.run_id, 16)


_FIGURES = ("wer_base", "wer", "wer_delta", "wer_delta_low", "wer_delta_high", "cer_base", "cer")


def _tell_plan(planned: Plan) -> None:
    tested = sum(len(fold.test) for fold in planned.folds)
    turns = f", in {len(planned.folds)} folds" if len(planned.folds) > 1 else ""
    console().print(
        f"{planned.config.adapter.name}: learn from {len(planned.learned)} utterances, test on {tested}{turns}"
    )


def _manifests(data: str | None) -> dict[str, Any]:
    """A manifest, or the manifests of a folder, as config keys."""
    if not data:
        return {}
    path = Path(data)
    if not path.is_dir():
        return {"data.train": data}
    train, test = path / "train.jsonl.gz", path / "test.jsonl.gz"
    if not train.is_file():
        raise AsrLabError("the folder has no train.jsonl.gz", where=data, allowed="train.jsonl.gz, test.jsonl.gz")
    return {"data.train": str(train)} | ({"data.test": str(test)} if test.is_file() else {})


def _tell(adapted: Any) -> None:
    out = console()
    out.print()
    out.print(f"[bold]{adapted.name}'s adapter[/] on {adapted.base}")
    for label, text in adapted.rows().items():
        out.print(f"  {label:16} {text}")
    if not adapted.gain.delta.excludes_zero or adapted.gain.delta.value > 0:
        out.print("  [yellow]no gain is shown: the interval of the difference touches 0, or it got worse[/]")
    say_where_to_look(out, adapted.run_id, 16)
    out.print(f"  {'use it':16} asr-lab transcribe FILE.wav --adapter {adapted.name}")
