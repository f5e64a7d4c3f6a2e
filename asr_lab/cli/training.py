"""What commands that train share: CONFIG with its options, and who of torchrun's processes records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asr_lab.cli.options import dry_run_option, new_run_option, offline_option, overrides_option

if TYPE_CHECKING:
    from rich.console import Console

    from asr_lab.training.recorder import Tracker

F = TypeVar("F", bound=Callable[..., Any])


def training_options(function: F) -> F:
    """`CONFIG [KEY=VALUE]... --overrides --dry-run --new-run --offline`."""
    for option in (
        offline_option,
        new_run_option,
        dry_run_option,
        overrides_option,
        click.argument("keys", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE]..."),
        click.argument("config", type=click.Path(path_type=Path)),
    ):
        function = option(function)
    return function


def recording(out: Console, *, new_run: bool, offline: bool) -> tuple[Tracker, Console, bool]:
    """(Tracker, console, whether this process is the first): of torchrun's processes the first one records and speaks.

    The others do neither.
    """
    from rich.console import Console

    from asr_lab.recipes.common import rank_and_world_size
    from asr_lab.tracking.recorder import MlflowTracker
    from asr_lab.training.recorder import MemoryTracker

    if rank_and_world_size()[0] == 0:
        return MlflowTracker(new_run=new_run, offline=offline), out, True
    return MemoryTracker(Path("checkpoints") / "other-ranks"), Console(quiet=True), False
