"""What commands that remove things share: the question, the bar, and not waiting for minutes for a dead server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.progress import Progress

from asr_lab.cli.options import console
from asr_lab.errors import listing

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
        help="The tracking server's database, for erasing rows: the server itself offers no way.",
    )(function)


def ask(question: str, yes: bool) -> None:
    """Go on only when the answer is yes (exit code 1 otherwise)."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def named(runs: Iterable[Record]) -> str:
    """`base (1a2b3c4d), john (5e6f7a8b) and 12 more`: runs in a question."""
    return listing(runs, 5)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error; call what it gives after each step."""
    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def limit_retries() -> None:
    """Find out within seconds, not minutes, that a server died while we talked to it."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")


def warn_hidden_rows() -> None:
    """Say that rows are left of what was erased through a server."""
    console(stderr=True).print(
        "their files are gone; their rows are only hidden, as a tracking server cannot erase rows. To finish it:\n"
        "  asr-lab cleanup --purge --backend-store-uri URI-OF-THE-SERVER'S-DATABASE",
    )
