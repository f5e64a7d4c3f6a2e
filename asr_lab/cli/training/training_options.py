"""Shared by commands that train: CONFIG with its options, and the recording process of torchrun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asr_lab.cli.completion import ConfigKey
from asr_lab.cli.config_options import overrides_option
from asr_lab.cli.options import dry_run_option, new_run_option, offline_option
from asr_lab.cli.training.data_folder import checked_config, data_option, recipe_of_config, split_keys
from asr_lab.config.load import keys, load
from asr_lab.config.schema import Experiment
from asr_lab.errors import AsrLabError

if TYPE_CHECKING:
    from asr_lab.interfaces.tracking import Tracker
    from asr_lab.system.terminal import Console

F = TypeVar("F", bound=Callable[..., Any])


def training_options(function: F) -> F:
    """`CONFIG [KEY=VALUE]... --data --overrides --dry-run --new-run --offline`."""
    for option in (
        data_option,
        offline_option,
        new_run_option,
        dry_run_option,
        overrides_option,
        click.argument("keys", nargs=-1, type=ConfigKey(), metavar="[KEY=VALUE]..."),
        click.argument("config", metavar="CONFIG", required=False, type=click.Path(path_type=Path)),
    ):
        function = option(function)
    return function


def merged_option(function: F) -> F:
    """`--merged`."""
    return click.option(
        "--merged",
        is_flag=True,
        help="Save one merged model instead of adapters that need their base (model.merged=true).",
    )(function)


def loaded(
    config: Path | None,
    settings: Mapping[str, Any],
    *recipes: str,
    command: str,
    data: str | None = None,
    merged: bool = False,
) -> Experiment:
    """Load the experiment of a file with the manifests of the folder `data` and settings on top, and with `merged` set
    its `model.merged`.

    Raises `AsrLabError` like `load`, if there is no configuration, and if the recipe has no adapters to merge.
    """
    config = checked_config(config, data, command, recipes)
    splits = split_keys(data, str(settings.get("recipe") or recipe_of_config(config, recipes))) if data else {}
    settings = {**splits, **settings}
    experiment: Experiment = load(config, settings, *recipes)
    if not merged:
        return experiment
    if "model.merged" not in keys(type(experiment)):
        raise AsrLabError(
            f"--merged is for adapters (model.tune=lora); the recipe {experiment.recipe!r} trains none",
            where=str(config),
            allowed="--merged with the recipes wav2vec2 and curriculum",
        )
    merging: Experiment = load(config, {**settings, "model.merged": True}, *recipes)
    return merging


def recording(out: Console, *, new_run: bool, offline: bool) -> tuple[Tracker, Console, bool]:
    """Return (tracker, console, whether this is the first process): only the first process records and prints."""
    from asr_lab.interfaces.in_memory import MemoryTracker
    from asr_lab.system.distributed import is_first
    from asr_lab.system.terminal import Console
    from asr_lab.tracking.tracker import MlflowTracker

    if is_first():
        return MlflowTracker(new_run=new_run, offline=offline), out, True
    return MemoryTracker(Path("checkpoints") / "other-ranks"), Console(quiet=True), False
