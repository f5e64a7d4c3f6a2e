"""`asr-lab adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_lab.cli.completion import ConfigKey, ModelName, complete_demo_speakers
from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, given, keys_help, overrides_option
from asr_lab.cli.jobs import Jobs, trainings_options
from asr_lab.cli.options import console, dry_run_option, new_run_option, offline_option
from asr_lab.cli.training.experiments import make_demo_base, make_demo_corpus, run, show_outcome
from asr_lab.cli.training.training_options import recording
from asr_lab.config.identity import flat
from asr_lab.config.load import load
from asr_lab.config.schema import AdapterExperiment
from asr_lab.errors import AsrLabError


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("adapter"))
@click.option(
    "--name",
    shell_complete=complete_demo_speakers,
    help="Name of the speaker: letters, digits, `-`, `_`, Korean syllables.",
)
@click.option(
    "--base",
    type=ModelName("models:/"),
    help="The frozen base model: registry URI, runs:/ID/model, or folder.  [models:/deepspeech2@champion]",
)
@click.option(
    "--data",
    help="Manifest, or folder with train and test manifests.  [the demo corpus' speaker of that name]",
)
@click.option("--each", help="Train one adapter per value of a field of DATA, such as speaker; metrics are pooled.")
@click.option("--hidden-dims", help="Width of each hidden layer.  [512,256]")
@click.option("--epochs", help="Number of epochs.  [10]")
@click.option("--config", type=click.Path(path_type=Path), help="Config file; options override it.")
@click.argument("keys", nargs=-1, type=ConfigKey(("adapter",)), metavar="[KEY=VALUE]...")
@overrides_option
@dry_run_option
@new_run_option
@offline_option
@trainings_options
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
    jobs: Jobs,
    part: str | None,
) -> None:
    """Train a small MLP for one speaker on a frozen base, and report the improvement on held-out utterances.

    \b
    Examples:
      asr-lab adapter --name john
      asr-lab adapter --name mina --data corpora/mina/all.jsonl.gz
      asr-lab adapter --name mina --data corpora/mina/all.jsonl.gz data.cross_fit=5
      asr-lab adapter --each speaker --data corpora/class/all.jsonl.gz data.cross_fit=4 data.sizes=2,5,10
      asr-lab adapter --each speaker --data corpora/class/all.jsonl.gz --engine slurm --jobs 8

    With --jobs, each speaker's adapter is trained by a job of its own, then one job pools all. Without --data, the demo
    corpus and its base model are created first if they are missing.
    """
    options = {"adapter.name": name, "adapter.base": base, "train.epochs": epochs, "data.each": each}
    options |= _manifests(data) | {"adapter.hidden_dims": hidden_dims.split(",") if hidden_dims else None}
    chosen = given(options, config, "adapter") | config_keys(texts, keys)
    if chosen.get("data.each") and chosen.setdefault("adapter.name", "everyone") != "everyone":
        raise AsrLabError("--each trains an adapter for every speaker in DATA", allowed="either --each or --name")
    experiment: AdapterExperiment = load(config, chosen, "adapter")
    from asr_lab.models.adapter import check_name

    check_name(experiment.adapter.name)
    if part:
        _adapt_speaker(experiment, part, new_run=new_run, offline=offline)
        return
    if jobs.engine and not dry_run:
        jobs.run_command(_speakers(experiment, jobs, offline=offline))
        return
    if not offline and not experiment.data.train:
        from asr_lab.tracking.connection import check_usable

        check_usable()  # before the demo's corpus is made
    if not dry_run:  # the run of `mlflow run` is the adapter's, not that of a base trained first
        from asr_lab.tracking.tracker import MlflowTracker

        MlflowTracker(offline=offline).announce("adapter")
    if not experiment.data.train:
        experiment = _of_the_demo(experiment, make=not dry_run)
    show_outcome(run(experiment, dry_run=dry_run, new_run=new_run, offline=offline))


def _speakers(experiment: AdapterExperiment, jobs: Jobs, *, offline: bool) -> list[str]:
    """Return the speakers whose adapters get jobs of their own, after creating the data and base they share."""
    if jobs.count == 1:
        return []
    if not experiment.data.each or offline:
        raise AsrLabError(
            "--jobs trains each speaker's adapter in a job of its own, and pools them from the tracking store",
            allowed="--each speaker, without --offline",
            where="the command line",
        )
    from asr_lab.recipes.adaptation.group import speaker_names
    from asr_lab.recipes.own_data import with_own_splits
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.tracker import MlflowTracker

    if not experiment.data.train:
        experiment = _of_the_demo(experiment, make=True)
    experiment, _ = with_own_splits(experiment)
    make_demo_corpus(experiment.manifests().values(), console())
    make_demo_base(flat(experiment), MlflowTracker(), MlflowStore(), console())
    return speaker_names(experiment)


def _adapt_speaker(experiment: AdapterExperiment, name: str, *, new_run: bool, offline: bool) -> None:
    """Train the adapter of one speaker, for a group whose adapters are trained by jobs of their own."""
    from asr_lab.recipes.adaptation.group import adapt_speaker
    from asr_lab.recipes.own_data import with_own_splits
    from asr_lab.tracking.models.model_store import MlflowStore

    tracker, out, _ = recording(console(), new_run=new_run, offline=offline)
    adapt_speaker(name, with_own_splits(experiment)[0], tracker, out, store=MlflowStore())


def _of_the_demo(experiment: AdapterExperiment, *, make: bool) -> AdapterExperiment:
    """Return the experiment on the demo speaker of that name, after creating a missing corpus."""
    from asr_lab.recipes import demo

    if experiment.data.each:
        raise AsrLabError("--each needs --data", allowed="a manifest of several speakers", where="the command line")
    demo.ensure_corpus(console(), make=make)
    return demo.with_demo_speaker(experiment)


def _manifests(data: str | None) -> dict[str, Any]:
    """Return the config keys of a manifest, or of the manifests of a folder."""
    if not data:
        return {}
    path = Path(data)
    if not path.is_dir():
        return {"data.train": data}
    train, test = path / "train.jsonl.gz", path / "test.jsonl.gz"
    if not train.is_file():
        raise AsrLabError("the folder has no train.jsonl.gz", where=data, allowed="train.jsonl.gz, test.jsonl.gz")
    return {"data.train": str(train)} | ({"data.test": str(test)} if test.is_file() else {})
