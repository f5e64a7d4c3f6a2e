"""Options that select runs, shared by several commands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from asr_lab.tracking.queries.runs import Run


@dataclass(frozen=True)
class Selection:
    """Values of the selection options."""

    pattern: str = ""
    family: str = ""
    where: str = ""
    since: str = ""
    archived: bool = False
    children: bool = False

    def find(self, status: str = "", limit: int | None = None) -> list[Run]:
        """Return the runs, newest first."""
        from asr_lab.tracking.queries import runs

        most = {} if limit is None else {"limit": limit}
        return runs.find(
            self.pattern,
            self.family,
            status=status,
            where=self.where,
            since=self.since,
            archived=self.archived,
            children=self.children,
            **most,
        )

    def hidden(self) -> str:
        """Return a hint on runs that other options would include, or ""."""
        wider = {"--children": replace(self, children=True), "--archived": replace(self, archived=True)}
        helps = [option for option, selection in wider.items() if selection != self and selection.find(limit=1)]
        return f"there are some with {' or '.join(helps)}" if helps else ""

    def __str__(self) -> str:
        given = {"--pattern": self.pattern, "--family": self.family, "--filter": self.where, "--since": self.since}
        return " ".join(f"{option} {value!r}" for option, value in given.items() if value)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--pattern --family --filter --since --archived --children`, handed to the command as `selection`."""

    @functools.wraps(function)
    def gathered(*arguments: Any, **options: Any) -> Any:
        own = {name: options.pop(name) for name in Selection.__dataclass_fields__}
        return function(*arguments, selection=Selection(**own), **options)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


_OPTIONS = (
    click.option("--pattern", default="", help="Glob or part of a run's name, model type or family, case-insensitive."),
    click.option("--family", default="", help="Only this family, such as adapter."),
    click.option("--filter", "where", default="", help="Conditions in MLflow's grammar, joined by AND."),
    click.option("--since", default="", help="Started since: 7d, yesterday, 2026-11-01, or as list prints it."),
    click.option("--archived", is_flag=True, help="Include archived runs."),
    click.option("--children", is_flag=True, help="Include trials of sweeps, folds and phases."),
)
