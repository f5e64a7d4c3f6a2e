"""Shared by commands that delete: options, confirmation, progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.progress import Progress

from asr_lab.cli.options import console
from asr_lab.errors import listing
from asr_lab.system.visible_text import one_line

if TYPE_CHECKING:
    from asr_lab.tracking.run_index import Record

F = TypeVar("F", bound=Callable[..., Any])


def yes_option(function: F) -> F:
    """`--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def plan_option(function: F) -> F:
    """`--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")(function)


def backend_option(function: F) -> F:
    """`--backend-store-uri`."""
    return click.option(
        "--backend-store-uri",
        "backend",
        default="",
        envvar="MLFLOW_BACKEND_STORE_URI",
        metavar="URI",
        help="The tracking server's database, to erase rows: the server cannot.",
    )(function)


def ask(question: str, yes: bool) -> None:
    """Ask for confirmation; exit with code 1 unless the answer is yes."""
    if not yes:
        click.confirm(one_line(question), abort=True, err=True)


def named(runs: Iterable[Record]) -> str:
    """Return `base (1a2b3c4d), john (5e6f7a8b) and 12 more`."""
    return listing(runs, 5)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on standard error; call the yielded function after each step."""
    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=not (out.is_terminal and total)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def limit_retries() -> None:
    """Limit MLflow's retries, so that a dead server is noticed within seconds."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")


def warn_hidden_rows() -> None:
    """Report that a tracking server cannot erase rows."""
    console(stderr=True).print(
        "their files are gone; their rows are only hidden, as a tracking server cannot erase rows. To finish it:\n"
        "  asr-lab cleanup --purge --backend-store-uri URI-OF-THE-SERVER'S-DATABASE",
    )
