"""Completion in the shell: runs, adapters, models, metrics, config keys."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, split_arg_string

from asr_lab.config.names import ADAPTER_SUFFIX, model_uri

_MOST = 200  # names shown, the newest first
_RUNS = (
    "SELECT name FROM runs WHERE lifecycle_stage = 'active' AND substr(name, 1, ?) = ? ORDER BY start_time DESC LIMIT ?"
)
_IDS = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' AND substr(run_uuid, 1, ?) = ? LIMIT ?"
_MODELS = "SELECT name FROM registered_models WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT ?"
_ALIASES = (
    "SELECT DISTINCT name || '@' || alias AS uri FROM registered_model_aliases WHERE substr(name || '@' || alias, 1, ?)"
    " = ? ORDER BY uri LIMIT ?"
)
_MODEL_URI = "models:/"


class RunName(click.types.StringParamType):
    """A run by its name, an id, or the beginning of one."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names of runs of an SQLite store; a server is not asked at every key."""
        by_id = len(incomplete) > 1 and re.fullmatch("[0-9a-f]+", incomplete)
        return [
            CompletionItem(name) for name in _names(_RUNS, incomplete) or (_names(_IDS, incomplete) if by_id else [])
        ]


class ModelName(click.types.StringParamType):
    """A model of the registry: `NAME`, `NAME/3`, `NAME@alias`; where URIs are taken, it becomes one (`models:/`)."""

    name = "model"

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name = super().convert(value, param, ctx)
        return model_uri(name) if self.prefix else name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        begun = "" if self.prefix.startswith(incomplete) else incomplete.removeprefix(self.prefix)
        query = _ALIASES if self.prefix else _MODELS
        return [CompletionItem(f"{self.prefix}{name}") for name in _names(query, begun)]


class AdapterName(click.types.StringParamType):
    """A speaker's adapter by name, file or registry URI."""

    name = "adapter"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names of the adapters in the folder `adapters`, and files."""
        return complete_adapted(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


class ConfigKey(click.types.StringParamType):
    """A config key with its value: `train.lr=0.001`."""

    name = "key"

    def __init__(self, recipes: Iterable[str] = ()) -> None:
        self.recipes = recipes

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the keys with `=`, after that models or files."""
        key, has_value, value = incomplete.partition("=")
        if not has_value and incomplete.startswith("models:"):
            return ModelName(_MODEL_URI).shell_complete(ctx, param, incomplete)
        if has_value and value.startswith("models:"):
            models = ModelName(_MODEL_URI).shell_complete(ctx, param, value)
            return [CompletionItem(f"{key}={model.value}") for model in models]
        if has_value:
            return [CompletionItem(value, type="file")]
        return [CompletionItem(f"{name}=") for name in _keys(self.recipes) if name.startswith(incomplete)]


def complete_adapted(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the adapters in the folder `adapters`."""
    names = sorted(file.name.removesuffix(ADAPTER_SUFFIX) for file in Path("adapters").glob(f"*{ADAPTER_SUFFIX}"))
    return _beginning(names, incomplete)


def complete_demo_speakers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the speakers of the demo corpus that recognisers are adapted to."""
    return _beginning(sorted(folder.name for folder in Path("corpora/demo/persons").glob("*")), incomplete)


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of metrics, in the order of the catalog."""
    from asr_lab.metrics.catalog import METRICS

    return _beginning(METRICS, incomplete)


def complete_key_lists(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return lists of config keys, separated by commas, that have one more key."""
    before, comma, begun = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{key}") for key in _keys() if key.startswith(begun)]


class Bash(BashComplete):
    """Joins what readline divides at `=`, `:` and `@`, escapes blanks, and adds none after `KEY=`."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", 'COMPREPLY+=("$value"); [[ $value == *= ]] && compopt -o nospace'
    )
    _written = ""
    """The part of the last word that readline leaves as it is."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the incomplete one, and that one."""
        number = int(os.environ["COMP_CWORD"])
        parts = split_arg_string(os.environ["COMP_WORDS"])[: number + 1]
        parts += [""] * (number + 1 - len(parts))
        words = [""]
        for part in parts:
            goes_on = re.fullmatch("[=:]+|@.*", part) or words[-1].endswith(("=", ":", "@"))
            words = [*words[:-1], words[-1] + part] if goes_on else [*words, part]
        begun = "" if re.fullmatch("[=:]+", parts[-1]) else parts[-1]
        self._written = (
            words[-1].removesuffix(begun).removesuffix("@")
        )  # readline itself replaces the `@` before a word
        return words[2:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return the line that the script in bash reads."""
        if item.type != "plain":
            return super().format_completion(item)
        escaped = re.sub(r"([^\w@%+=:,./~^-])", r"\\\1", str(item.value).removeprefix(self._written))
        return f"{item.type},{escaped}"


def _keys(recipes: Iterable[str] = ()) -> list[str]:
    from asr_lab.config.identity import defaults
    from asr_lab.families import FAMILIES, config_class

    return sorted({key for name in recipes or FAMILIES for key in defaults(config_class(name))})


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


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
