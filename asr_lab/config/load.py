"""Read and validate a configuration from YAML and `key=value`; all errors are reported at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from asr_lab.config.dotted import nest
from asr_lab.config.schema import ALIASES
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import FAMILIES, config_class

E = TypeVar("E", bound=BaseModel)

_NEXT_KEY = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Parse `["a.b=1", "c=2,d=x"]` to `{"a.b": 1, "c": 2, "d": "x"}`; values are YAML, lists may be `512,256`.

    Names of older systems are replaced by config keys (`ALIASES`); `load` replaces those that depend on the family.
    """
    pairs: dict[str, Any] = {}
    depend = {name for family in FAMILIES.values() for name in family.aliases}
    for part in (part.strip() for text in texts for part in _NEXT_KEY.split(text)):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if not equals:
            raise AsrLabError(f"not an override: {part!r}", allowed="key=value, such as train.batch_size=16")
        key = key.strip()
        pairs[key if key in depend else ALIASES.get(key, key)] = _value(value.strip())
    return pairs


def _value(text: str) -> Any:
    if "," in text and not text.startswith(("[", "{", "'", '"')):
        return [_value(item.strip()) for item in text.split(",") if item.strip()]
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping with nested or dotted keys."""
    if not path.is_file():
        known = sorted(str(p) for p in Path("experiments").glob("*/*.yaml"))
        raise AsrLabError("no such config file", where=str(path), allowed=listing(known) or "a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AsrLabError(f"not valid YAML: {error}", where=str(path)) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise AsrLabError("a config file holds `key: value` lines", where=str(path))
    return content


def load(path: Path | None, overrides: Mapping[str, Any], *recipes: str) -> Any:
    """Read `path` (None: defaults only), apply `overrides` (dotted keys), and validate the result.

    `recipes` are the recipes that the file may be for, the first one the default; without any, the file names its
    recipe. Names that end in the file's model type follow an override of the type. Raise `AsrLabError` listing all
    errors.
    """
    given = nest(read_yaml(path) if path else {})
    named = overrides.get("recipe", given.get("recipe", recipes[0] if recipes else ""))
    where = str(path) if path else "the command line"
    if named not in FAMILIES:
        raise AsrLabError(f"unknown recipe {named!r}", where=where, allowed=listing(FAMILIES))
    family = FAMILIES[named]
    if recipes and named not in recipes:
        option = "--config " if family.command in ("adapter", "evaluate") else ""
        raise AsrLabError(
            f"this config is for the recipe {named!r}, not {' or '.join(map(repr, recipes))}",
            where=where,
            next_command=f"asr-lab {family.command} {option}{path}",
        )
    known = {**ALIASES, **family.aliases}
    renamed = {known.get(key, key): value for key, value in overrides.items()}
    content = nest(_named_by_type(given, renamed) | renamed, given | {"recipe": named})
    return validate(config_class(named), content, where)


def _named_by_type(given: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, str]:
    """Update names in a file that end in its `model.type`, such as `pronunciation-cross`, after an override of it."""
    model, run, new = given.get("model"), given.get("run"), overrides.get("model.type")
    if not (isinstance(model, Mapping) and isinstance(run, Mapping) and isinstance(new, str)):
        return {}
    names = {key: str(run[key]).rpartition("-") for key in ("name", "register_as") if run.get(key)}
    return {f"run.{key}": first + dash + new for key, (first, dash, old) in names.items() if old == model.get("type")}


def validate(kind: type[E], content: Mapping[str, Any], where: str) -> E:
    """Validate `content` as a `kind`; raise one `AsrLabError` that lists all invalid keys and values."""
    content = _completed(kind, content)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        lines = [_explain(kind, problem) for problem in error.errors()]
        word = "error" if len(lines) == 1 else "errors"
        what = f"{len(lines)} {word} in the configuration:\n    " + "\n    ".join(lines)
        raise AsrLabError(what, where=where) from error


def _completed(kind: type[BaseModel], content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert `hidden_dims: 256` to `[256]`, and add missing sections as empty ones."""
    completed = dict(content)
    for name, info in kind.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if isinstance(completed.setdefault(name, {}), Mapping):
                completed[name] = _completed(annotation, completed[name])
        elif name not in completed:
            continue
        elif get_args(annotation)[1:] == (Ellipsis,) and not isinstance(completed[name], list | tuple):
            completed[name] = [] if completed[name] == "" else [completed[name]]
    return completed


def keys(kind: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Return all dotted keys of a configuration with their help texts."""
    texts: dict[str, str] = {}
    for name, info in kind.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            texts |= keys(annotation, f"{prefix}{name}.")
        else:
            texts[prefix + name] = " ".join((info.description or "").split())
    return texts


def required(kind: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the dotted keys of a configuration that have no default."""
    names: set[str] = set()
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            names |= required(info.annotation, f"{prefix}{name}.")
        elif info.is_required():
            names.add(prefix + name)
    return names


def _explain(kind: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        valid = keys(kind)
        near = nearest(key, valid) or nearest(location[-1], (k.rsplit(".", 1)[-1] for k in valid))
        near = next((k for k in valid if k == near or k.endswith("." + near)), near)
        return f"{key}: no such key" + (f"; did you mean {near}?" if near else "")
    if problem["type"] == "missing":
        return f"{key}: required, but not set"
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):
        return str(problem["ctx"]["error"])  # concerns several keys; the message names them
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}, not {problem['input']!r}"
