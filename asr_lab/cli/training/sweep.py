"""`asr-lab sweep`."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import ConfigKey
from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, keys_help, overrides_option
from asr_lab.cli.jobs import resources_option
from asr_lab.cli.options import Finite, Renamed, console, dry_run_option, offline_option, print_where_to_look
from asr_lab.cli.tables import show
from asr_lab.cli.training.data_folder import checked_config, data_option, recipe_of_config, split_keys
from asr_lab.cli.training.experiments import make_demo_base, make_demo_corpus, show_outcome, show_plan
from asr_lab.config.load import load
from asr_lab.config.schema import SweepExperiment
from asr_lab.config.schema.base import SPLITS
from asr_lab.config.yaml_files import read_yaml
from asr_lab.engines.engine import ENGINES, make_engine, parse_resources, python_command, refuse_processes
from asr_lab.errors import AsrLabError
from asr_lab.families import sweepable
from asr_lab.reports.table import Table
from asr_lab.system.processes import process_mark

if TYPE_CHECKING:
    from asr_lab.sweeps.results import SweepResult
    from asr_lab.sweeps.storage import StorageLocation
    from asr_lab.sweeps.study import StudyPlan
    from asr_lab.sweeps.sweep import Jobs
    from asr_lab.sweeps.worker import Backends
    from asr_lab.system.terminal import Console

STORAGE = "ASR_LAB_STORAGE"
"""The variable that stands for `--storage`, by which jobs get it: other users see the words of a command."""
_SHOWN = 10  # trials in the final table


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("sweep"))
@click.argument("config", metavar="CONFIG", required=False, type=click.Path(path_type=Path))
@click.argument("keys", nargs=-1, type=ConfigKey(("sweep",)), metavar="[KEY=VALUE]...")
@data_option
@click.option("--trials", type=click.IntRange(min=1), help="Total number of trials, including existing ones.  [20]")
@click.option(
    "--timeout-s",
    "--timeout",
    "timeout_s",
    cls=Renamed,
    type=Finite(min=0),
    help="Start no trial after so many seconds.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on this machine.")
@click.option(
    "--engine", type=click.Choice(list(ENGINES)), help="Where jobs run the trials; --workers 4: 4 `local` ones."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs at a time, with --engine.")
@resources_option
@click.option(
    "--storage",
    default="",
    envvar=STORAGE,
    help="Path of a journal file, or postgresql://... for several machines.",
    show_envvar=True,
)
@click.option("--join", is_flag=True, hidden=True)
@click.option("--job", type=int, hidden=True)
@click.option("--retrain", is_flag=True, help="Finally train the best trial again, with the keys under `final`.")
@overrides_option
@dry_run_option
@offline_option
def sweep(
    config: Path | None,
    keys: tuple[str, ...],
    data: str | None,
    trials: int | None,
    timeout_s: float | None,
    workers: int,
    engine: str | None,
    jobs: int,
    resources: tuple[str, ...],
    storage: str,
    join: bool,
    job: int | None,
    retrain: bool,
    texts: tuple[str, ...],
    dry_run: bool,
    offline: bool,
) -> None:
    """Search the keys of an experiment for the values with the best metrics; CONFIG defines both.

    \b
    Examples:
      asr-lab sweep experiments/sweeps/adapter.yaml --trials 30
      asr-lab sweep experiments/sweeps/adapter.yaml --dry-run
      asr-lab sweep experiments/sweeps/deepspeech2.yaml --workers 2 --timeout-s 3600 train.epochs=5
      asr-lab sweep experiments/sweeps/lora.yaml --storage postgresql://asr@db/sweeps \\
          --engine slurm --jobs 16 --resources=gpus=1,partition=gpu

    KEY is a key of the sweep (`seeds=3`, `space.train.lr.high=0.1`) or of the experiment, then fixed for all trials.
    The same command resumes an interrupted sweep; with larger --trials it extends a finished one.
    """
    config = checked_config(config, data, "sweep", ("sweep",))
    experiment = _loaded(config, config_keys(texts, keys), data)
    out = console()
    from asr_lab.sweeps import sweep as sweeping
    from asr_lab.sweeps.worker import Backends
    from asr_lab.tracking.connection import check_usable, tracking_uri
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.tracker import MlflowTracker

    if not offline:
        check_usable()
    asked = _asked(trials, experiment)
    shown = experiment.model_copy(update={"trials": asked}) if dry_run else experiment
    planned: StudyPlan = sweeping.plan(shown, config.stem, storage, tracking_uri())
    if dry_run:
        show_plan(planned, out)
        return
    console(stderr=True).warn(planned.warnings)
    backends = Backends(partial(MlflowTracker, offline=offline), MlflowStore)
    if job is not None:
        sweeping.run_job(planned, backends, job)
        return
    words = _words(config, keys, texts, data, offline=offline)
    own = _jobs(engine, jobs, workers, resources, words, planned.location, first=_first_number(join))
    if not join:
        MlflowTracker(offline=offline).announce(planned.space.recipe)
    _make_demo_inputs(planned, backends, out)
    seconds = experiment.timeout_s if timeout_s is None else timeout_s
    _run(planned, backends, out, asked=None if join else asked, timeout_s=seconds, jobs=own, retrain=retrain)


def _run(
    planned: StudyPlan, backends: Backends, out: Console, *, asked: int | None, timeout_s: float, jobs: Jobs | None,
    retrain: bool,
) -> None:  # fmt: skip
    """Run trials until there are as many as asked, and report them; None: until the process that leads ends."""
    from asr_lab.sweeps import sweep as sweeping

    if asked is None:
        count = sweeping.join(planned, backends, out, timeout_s=timeout_s, jobs=jobs)
        out.print(f"trials run here: {count}; the leading process reports the results")
        return
    result = sweeping.sweep(planned, backends, out, asked=asked, timeout_s=timeout_s, jobs=jobs)
    _report(result, out, retrain=retrain)
    if retrain:
        _retrain(result, backends, out)


def _words(
    config: Path, keys: Sequence[str], texts: Sequence[str], data: str | None, *, offline: bool
) -> Sequence[str]:
    """Return the words of the command that runs a trial of this sweep."""
    words = [str(config), *(word for text in texts for word in ("--overrides", text)), *keys]
    return [*words, *(["--data", data] if data else []), *(["--offline"] * offline)]


def _make_demo_inputs(planned: StudyPlan, backends: Backends, out: Console) -> None:
    """Make the demo's corpus and base if the trials use them, and they are not there."""
    usual = planned.space.usual
    make_demo_corpus([str(usual.get(f"data.{split}") or "") for split in SPLITS], out)
    make_demo_base(usual, backends.make_tracker(), backends.make_store(), out)


def _jobs(
    engine: str | None,
    count: int,
    workers: int,
    resources: Sequence[str],
    words: Sequence[str],
    location: StorageLocation,
    *,
    first: int,
) -> Jobs | None:
    """Return the jobs that run the trials, numbered from `first` + 1; None if this process does."""
    from asr_lab.sweeps.sweep import Jobs
    from asr_lab.system.threads import choose

    if engine and workers > 1:
        raise AsrLabError("--workers and --engine are given", allowed="--workers 4, or --engine local --jobs 4")
    if not engine and (count > 1 or resources):
        raise AsrLabError(
            "--jobs and --resources need an engine", allowed=f"--engine {' | '.join(ENGINES)}, or --workers"
        )
    if not engine and workers == 1:
        return None
    name, count = (engine, count) if engine else ("local", workers)
    asked = parse_resources(resources)
    refuse_processes(asked, "the training of a trial")
    if name == "local" and not asked.cpus:
        asked = replace(asked, cpus=max(1, choose().number // count))

    def command(number: int) -> Sequence[str]:
        return python_command("sweep", *words, "--job", str(first + number))

    return Jobs(make_engine(name, location.jobs_folder, asked, {STORAGE: location.uri}), count, command)


def _first_number(join: bool) -> int:
    """Return a number before those of the jobs, which seed what they propose: other than the leader's."""
    return zlib.crc32(process_mark().encode()) if join else 0


def _loaded(config: Path, chosen: Mapping[str, Any], data: str | None) -> SweepExperiment:
    """Load the sweep; keys that are not its own belong to the experiment. Of a folder of `data`, trials train on train
    and are ranked on val.
    """
    own = SweepExperiment.model_fields
    if data:
        inner = Path(str(chosen.get("experiment") or read_yaml(config).get("experiment", "")))
        splits = split_keys(data, recipe_of_config(inner, sweepable()))
        chosen = {key: path for key, path in splits.items() if key in ("data.train", "data.val")} | dict(chosen)
    overrides = {key if key.partition(".")[0] in own else f"fixed.{key}": value for key, value in chosen.items()}
    result: SweepExperiment = load(config, overrides, "sweep")
    return result


def _asked(trials: int | None, experiment: SweepExperiment) -> int:
    """Return the requested number of trials; under `mlflow run` a default value does not override the config."""
    usual = SweepExperiment.model_fields["trials"].default
    by_default = trials is None or (trials == usual and "MLFLOW_RUN_ID" in os.environ)
    return experiment.trials if by_default or trials is None else trials


def _report(result: SweepResult, out: Console, *, retrain: bool) -> None:
    if not result.best:
        raise AsrLabError(
            "no trial finished", where=result.run_name, next_command="asr-lab list --children --state failed"
        )
    table = result.table().head(_SHOWN)
    out.print()
    best = dict.fromkeys(result.plan.objective.metrics[:1], table.index[0])
    show(Table(frame=table, best=best, expendable=("run", "why")), "table")
    out.say("[bold]{}[/]", result.run_name)
    for line in result.sentences():
        out.say("  {}", line)
    out.print(f"  {'best':11} {result.file}")
    if not retrain:
        out.print(f"  {'run it':11} {result.command}")
    print_where_to_look(out, result.run_id, width=11)


def _retrain(result: SweepResult, backends: Backends, out: Console) -> None:
    """Train the best trial's configuration with the keys of `final`."""
    from asr_lab.sweeps.trial_training import retrain

    show_outcome(
        retrain(result.final_config(), backends.make_tracker(), backends.make_store(), out, parent=result.run_id), out
    )
