"""Options and ways of speaking that commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from asr_lab.config.identity import defaults
from asr_lab.config.load import keys, parse_overrides, read_yaml, required
from asr_lab.config.schema import ALIASES
from asr_lab.errors import AsrLabError
from asr_lab.families import config_class

F = TypeVar("F", bound=Callable[..., Any])

TAKES_CONFIG_KEYS = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Context settings of a command that takes `key=value` and `--key value` for any config key."""


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Where people read; as wide as the terminal, and never folded where there is none (a file, a pipe).

    Numbers and paths are not coloured: a colour means something here.
    """
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=width if stream.isatty() or width else 400, stderr=stderr)


def print_where_to_look(out: Console, run_id: str, width: int = 5) -> None:
    """Say how to look at the run that a command has made; `width` is that of the labels above."""
    from asr_lab.tracking.ui.addresses import where_to_look

    look = f"asr-lab show {run_id[:8]}, or {where_to_look(run_id)}"
    out.print(f"  {'look':{width}} {look}", soft_wrap=True, markup=False)


def overrides_option(function: F) -> F:
    """`--overrides a=b,c=d`, as MLproject passes them."""
    return click.option(
        "--overrides",
        "texts",
        multiple=True,
        metavar="KEY=VALUE,...",
        help="Config keys to change, by commas.",
    )(function)


def new_run_option(function: F) -> F:
    """`--new-run`."""
    return click.option("--new-run", is_flag=True, help="Do not continue a run that was cut off; start anew.")(function)


def offline_option(function: F) -> F:
    """`--offline`."""
    return click.option(
        "--offline", is_flag=True, help="Record into the folder spool alone; asr-lab sync ships it to the store later."
    )(function)


def dry_run_option(function: F) -> F:
    """`--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Check config and data, show sizes, spend and record nothing.")(
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


def config_keys(texts: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """`--overrides` and what else stood on the command line, as dotted keys."""
    return parse_overrides(texts) | parse_overrides(_pairs(arguments))


def _pairs(arguments: Sequence[str]) -> list[str]:
    """`key=value`, `--key=value` and `--key value` as `key=value` texts."""
    pairs: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if option := _meant(word):
            raise AsrLabError(f"not an override: {word!r}", hint=f"did you mean {option} {word}?")
        if word in ("true", "false"):  # behind a flag
            raise AsrLabError(f"not an override: {word!r}", hint="a flag such as --dry-run or --merged stands alone")
        if not word.startswith("--") or "=" in word:
            pairs.append(word.removeprefix("--"))
        elif rest:
            pairs.append(f"{word.removeprefix('--')}={rest.pop(0)}")
        else:
            raise AsrLabError(f"{word} needs a value", allowed=f"{word} VALUE, or {word.removeprefix('--')}=VALUE")
    parts = [pair.partition("=") for pair in pairs]
    return [key.replace("-", "_") + equals + value if equals else key for key, equals, value in parts]


def _meant(word: str) -> str:
    """The option of this command that a model or a manifest without a key was probably meant for, or ""."""
    fitting = {"--model": word.startswith(("models:/", "runs:/")), "--data": word.endswith(".jsonl.gz")}
    context = click.get_current_context(silent=True)
    known = {name for option in context.command.params for name in option.opts} if context and "=" not in word else ()
    return next((option for option, fits in fitting.items() if fits and option in known), "")


def given(values: Mapping[str, Any], config: Path | None, recipe: str) -> dict[str, Any]:
    """The options that were given, as config keys.

    `mlflow run` passes every option, given or not: there, one at its default leaves the config file its say.
    """
    chosen = {key: value for key, value in values.items() if value not in (None, "")}
    if "MLFLOW_RUN_ID" not in os.environ:
        return chosen
    usual, said = defaults(config_class(recipe)), _dotted(read_yaml(config)) if config else set()
    return {
        key: value
        for key, value in chosen.items()
        if key not in said or list(map(str, _listed(value))) != list(map(str, _listed(usual.get(key))))
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _dotted(content: Mapping[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in content.items():
        found |= _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key}
    return found


def keys_help(*recipes: str) -> str:
    """The config keys of recipes with the older option names that stand for them, for `--help`.

    A key of several recipes is told once, with the first.
    """
    lines: list[str] = []
    told: dict[str, str] = {}
    for recipe in recipes:
        kind, new = config_class(recipe), dict[str, str]()
        usual = defaults(kind) | dict.fromkeys(required(kind), "required")
        for key, text in keys(kind).items():
            default = usual.get(key, "none")
            shown = ",".join(map(str, default)) if isinstance(default, list) else default
            new[key] = f"  {key} [{shown}]" + (f"  {text}" if text else "")
        heading = "Config keys (key=value):" if not told else f"Other keys of recipe={recipe}, or others than above:"
        lines += [*([] if not told else ["\n\b"]), *([] if told else ["\b"]), heading]
        lines += [line for key, line in new.items() if told.get(key) != line]
        told |= new
    older = [f"{old} = {new}" for old, new in ALIASES.items() if new in told]
    return "\n".join([*lines, "\n\b", "Older option names that are understood:", *(f"  {line}" for line in older)])
