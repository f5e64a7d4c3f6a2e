"""Config keys on the command line, and in the help; reading the schema takes a fifth of a second."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from asr_lab.config.identity import defaults
from asr_lab.config.load import keys, parse_overrides, parse_words, required
from asr_lab.config.schema import ALIASES
from asr_lab.config.yaml_files import read_yaml
from asr_lab.errors import AsrLabError
from asr_lab.families import config_class

F = TypeVar("F", bound=Callable[..., Any])

TAKES_CONFIG_KEYS = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Context settings of a command that takes any config key as `key=value` or `--key value`."""


def overrides_option(function: F) -> F:
    """`--overrides a=b,c=d`, as MLproject passes them."""
    return click.option(
        "--overrides",
        "texts",
        multiple=True,
        metavar="KEY=VALUE,...",
        help="Config keys to override, separated by commas.",
    )(function)


def config_keys(texts: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """Return `--overrides` and the other arguments of the command line as dotted keys."""
    return parse_overrides(texts) | parse_words(_pairs(arguments))


def _pairs(arguments: Sequence[str]) -> list[str]:
    """Convert `key=value`, `--key=value` and `--key value` to `key=value` texts."""
    pairs: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if option := _missing_option(word):
            raise AsrLabError(f"not an override: {word!r}", hint=f"did you mean {option} {word}?")
        if word in ("true", "false"):  # after a flag
            raise AsrLabError(f"not an override: {word!r}", hint="a flag such as --dry-run or --merged takes no value")
        if not word.startswith("--") or "=" in word:
            pairs.append(word.removeprefix("--"))
        elif rest:
            pairs.append(f"{word.removeprefix('--')}={rest.pop(0)}")
        else:
            raise AsrLabError(f"{word} needs a value", allowed=f"{word} VALUE, or {word.removeprefix('--')}=VALUE")
    parts = [pair.partition("=") for pair in pairs]
    return [key.replace("-", "_") + equals + value if equals else key for key, equals, value in parts]


def _missing_option(word: str) -> str:
    """Return the option of this command that a bare model or manifest probably belongs to, or ""."""
    fitting = {"--model": word.startswith(("models:/", "runs:/")), "--data": word.endswith(".jsonl.gz")}
    context = click.get_current_context(silent=True)
    known = {name for option in context.command.params for name in option.opts} if context and "=" not in word else ()
    return next((option for option, fits in fitting.items() if fits and option in known), "")


def given(values: Mapping[str, Any], config: Path | None, recipe: str) -> dict[str, Any]:
    """Return the options that the user gave, as config keys.

    `mlflow run` passes all options: there, one at its default does not override the config file.
    """
    chosen = {key: value for key, value in values.items() if value not in (None, "")}
    if "MLFLOW_RUN_ID" not in os.environ:
        return chosen
    usual, in_file = defaults(config_class(recipe)), _dotted(read_yaml(config)) if config else set()
    return {
        key: value
        for key, value in chosen.items()
        if key not in in_file or list(map(str, _listed(value))) != list(map(str, _listed(usual.get(key))))
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _dotted(content: Mapping[str, Any], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in content.items():
        names |= _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key}
    return names


def _wrapped(line: str) -> str:
    """Return a line of the help in lines of click's width; paths and URIs are not broken."""
    return textwrap.fill(line, 78, subsequent_indent=6 * " ", break_long_words=False, break_on_hyphens=False)


def keys_help(*recipes: str) -> str:
    """Return the config keys of recipes, and their older option names, for `--help`.

    A key of several recipes is listed once, with the first.
    """
    lines: list[str] = []
    listed: dict[str, str] = {}
    for recipe in recipes:
        kind, new = config_class(recipe), dict[str, str]()
        usual = defaults(kind) | dict.fromkeys(required(kind), "required")
        for key, text in keys(kind).items():
            default = usual.get(key, "none")
            shown = ",".join(map(str, default)) if isinstance(default, list) else default
            new[key] = _wrapped(f"  {key} [{shown}]" + (f"  {text}" if text else ""))
        heading = "Config keys (key=value):" if not listed else f"Other keys or defaults of recipe={recipe}:"
        lines += [*([] if not listed else ["\n\b"]), *([] if listed else ["\b"]), heading]
        lines += [line for key, line in new.items() if listed.get(key) != line]
        listed |= new
    older = [f"{old} = {new}" for old, new in ALIASES.items() if new in listed]
    return "\n".join([*lines, "\n\b", "Accepted older option names:", *(f"  {line}" for line in older)])
