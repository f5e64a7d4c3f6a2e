"""Options and console shared by commands; those of configurations are in `config_options`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from asr_lab.system.terminal import Console
from asr_lab.system.visible_text import one_line

F = TypeVar("F", bound=Callable[..., Any])


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console as wide as the terminal; lines are not wrapped in files and pipes.

    Numbers and paths are not highlighted, since colours have a meaning.
    """
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=width if stream.isatty() or width else 400, stderr=stderr)


def echo(text: str, *, err: bool = False) -> None:
    """Print a line; line breaks and what a terminal would act on in it are shown."""
    click.echo(one_line(text), err=err)


def print_where_to_look(out: Console, *run_ids: str, width: int = 5) -> None:
    """Print how to show the runs of a command; `width` is that of the labels above."""
    from asr_lab.tracking.ui.addresses import where_to_look

    shown = f"asr-lab show {run_ids[0][:8]}, or " if len(run_ids) == 1 else ""
    out.print(f"  {'look':{width}} {shown}{where_to_look(*run_ids)}", soft_wrap=True)


def segment_option(function: F) -> F:
    """`--segment`."""
    return click.option(
        "--segment",
        type=click.Choice(["auto", "vad", "energy", "none"]),
        default="auto",
        show_default=True,
        help="How recordings over 30 s are cut: by silero-vad, by energy; auto: by silero-vad if it is installed.",
    )(function)


def new_run_option(function: F) -> F:
    """`--new-run`."""
    return click.option("--new-run", is_flag=True, help="Start a new run; do not resume an interrupted one.")(function)


def offline_option(function: F) -> F:
    """`--offline`."""
    return click.option(
        "--offline", is_flag=True, help="Record into the folder spool only; asr-lab sync uploads it to the store later."
    )(function)


def dry_run_option(function: F) -> F:
    """`--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Check config and data, show sizes; train and record nothing.")(
        function
    )


def format_option(function: F) -> F:
    """`--format`."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(["table", "json", "csv", "markdown", "latex"]),
        default="table",
        show_default=True,
    )(function)


class Renamed(click.Option):
    """An option with former names, which still work; help, messages and the shell's completion show the first one."""

    def __init__(self, *names: Any, **options: Any) -> None:
        super().__init__(*names, **options)
        self.opts, self._with_former = self.opts[:1], self.opts

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown, self.opts = self.opts, self._with_former
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


class Finite(click.FloatRange):
    """A number that is not infinite and not NaN, which click takes for within any range."""

    def _describe_range(self) -> str:
        return "finite" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number
