"""Completion in the shell: names of runs, adapters and models, and config keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

_MOST = 200  # names shown, the newest first
_RUNS = (
    "SELECT name FROM runs WHERE lifecycle_stage = 'active' AND substr(name, 1, ?) = ? ORDER BY start_time DESC LIMIT ?"
)
_MODELS = "SELECT name FROM registered_models WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT ?"


class RunName(click.types.StringParamType):
    """A run by its name, an id, or the beginning of one."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names of runs of an SQLite store; a server is not asked at every key."""
        return [CompletionItem(name) for name in _names(_RUNS, incomplete)]


class ModelName(click.types.StringParamType):
    """A model of the registry: `NAME`, `NAME/3`, `NAME@alias`, where URIs are taken with `models:/` before it."""

    name = "model"

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        begun = incomplete.removeprefix(self.prefix)
        return [CompletionItem(f"{self.prefix}{name}") for name in _names(_MODELS, begun)]


class AdapterName(click.types.StringParamType):
    """A speaker's adapter by name, file or registry URI."""

    name = "adapter"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names of the adapters in the folder `adapters`, and files."""
        files = Path("adapters").glob("*_adapter.pt")
        names = sorted(file.name.removesuffix("_adapter.pt") for file in files)
        items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return items or [CompletionItem(incomplete, type="file")]


class ConfigKey(click.types.StringParamType):
    """A config key with its value: `train.lr=0.001`."""

    name = "key"

    def __init__(self, recipes: Iterable[str] = ()) -> None:
        self.recipes = recipes

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from asr_lab.config.identity import defaults
        from asr_lab.families import FAMILIES, config_class

        keys = {key for name in self.recipes or FAMILIES for key in defaults(config_class(name))}
        return [CompletionItem(f"{key}=") for key in sorted(keys) if key.startswith(incomplete)]


def _names(query: str, incomplete: str) -> list[str]:
    from asr_lab.tracking.connection import sqlite_file, tracking_uri

    file = sqlite_file(tracking_uri()) if tracking_uri().startswith("sqlite") else None
    if file is None or not file.exists():
        return []
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as store,
    ):
        return [str(name) for (name,) in store.execute(query, (len(incomplete), incomplete, _MOST))]
    return []
