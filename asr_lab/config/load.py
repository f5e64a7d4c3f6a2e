"""Read and validate a configuration from YAML and `key=value`; all errors are reported at once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from asr_lab.config.dotted import nest
from asr_lab.config.schema import ALIASES
from asr_lab.config.yaml_files import OverrideYaml, number, read_yaml
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import FAMILIES, config_class

E = TypeVar("E", bound=BaseModel)

_NEXT_KEY = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")
_QUOTED = re.compile(r"""=\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?=,|$)""")
_UNIONS = (Union, UnionType)
_LONGEST_SHOWN = 200  # characters of a value in a message
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "~")


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Parse lists of overrides, `["a.b=1", "c=2,d=x"]`, to `{"a.b": 1, "c": 2, "d": "x"}`.

    A text with `,KEY=`, or with spaces around it, stands in quotes: `run.name="a,b=c",run.seed=1`. Values are read as
    those of `parse_words`.
    """
    pairs: dict[str, Any] = {}
    for text in texts:
        for part in filter(str.strip, _split(text)):
            key, equals, value = part.partition("=")
            value = value.strip()
            quoted = bool(equals and _QUOTED.fullmatch(equals + value))
            pairs |= _pair(part, key, str(_value(value)) if quoted and _is_text(_type_of(key)) else value)
    return pairs


def parse_words(words: Iterable[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE` words of a command line; the value of a key that holds text is taken literally.

    Other values: numbers, lists as `512,256` or `[512, 256]`, true, false and null. Names of older systems are
    replaced by config keys (`ALIASES`); `load` replaces those that depend on the family.
    """
    pairs: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        pairs |= _pair(word, key, value) if _is_text(_type_of(key)) else parse_overrides([word])
    return pairs


def _split(text: str) -> list[str]:
    """Split at commas before a key, but not in quoted values."""
    quoted = [found.span(1) for found in _QUOTED.finditer(text)]
    commas = [found.start() for found in _NEXT_KEY.finditer(text)]
    ends = [comma for comma in commas if not any(first < comma < last for first, last in quoted)]
    return [text[start:end] for start, end in zip([0, *(end + 1 for end in ends)], [*ends, None], strict=True)]


def _pair(part: str, key: str, value: str) -> dict[str, Any]:
    if "=" not in part:
        raise AsrLabError(f"not an override: {part.strip()!r}", allowed="key=value, such as train.batch_size=16")
    key = key.strip()
    depends = any(key in family.aliases for family in FAMILIES.values())
    return {key if depends else ALIASES.get(key, key): _read(value, _type_of(key))}


@cache
def _types() -> dict[str, Any]:
    """Return key -> type, of the keys and older option names of all families."""
    known: dict[str, Any] = {}
    for name, family in FAMILIES.items():
        own = {key: info.annotation for key, info in _fields(config_class(name))}
        known = {key: own[new] for key, new in family.aliases.items() if new in own} | own | known
    return {old: known[new] for old, new in ALIASES.items() if new in known} | known


def _type_of(key: str) -> Any:
    """Return the type of a key, also of one of the experiments in a sweep or a comparison; `Any` if it is unknown."""
    inner = re.sub(r"^(fixed|final|arms\.[^.]*)\.", "", key.strip())
    return _types().get(inner, Any)


def _leaves(kind: Any) -> list[Any]:
    """Return the types of a union, or the type alone."""
    kind = kind.__origin__ if get_origin(kind) is Annotated else kind
    return [leaf for one in get_args(kind) for leaf in _leaves(one)] if get_origin(kind) in _UNIONS else [kind]


def _is_text(kind: Any) -> bool:
    """Return whether a type holds text alone (or null)."""
    leaves = [leaf for leaf in _leaves(kind) if leaf is not NoneType]
    return all(leaf in (str, Path) or _is_choice(leaf) for leaf in leaves)


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind))


def _read(text: str, kind: Any) -> Any:
    """Read the value of a key of this type; what does not fit it is left for `validate` to refuse."""
    leaves = _leaves(kind)
    if NoneType in leaves and text.strip() in ("", "null"):
        return None
    if _is_text(kind):
        return text
    text = text.strip()
    if get_origin(kind) is tuple:
        items = _value(text) if text.startswith("[") else [item.strip() for item in text.split(",") if item.strip()]
        return [_read(item, get_args(kind)[0]) if isinstance(item, str) else item for item in items]
    return number(text) if any(leaf is str or _is_choice(leaf) for leaf in leaves) else _value(text)


def _value(text: str) -> Any:
    if "," in text and not text.startswith(("[", "{", "'", '"')):
        return [_value(item.strip()) for item in text.split(",") if item.strip()]
    if not text.startswith(("[", "{", "'", '"')) and text.lower() not in _WORDS:
        return number(text)
    try:
        return yaml.load(text, Loader=OverrideYaml)
    except yaml.YAMLError:
        return text


def load(path: Path | None, overrides: Mapping[str, Any], *recipes: str) -> Any:
    """Read `path` (None: defaults only), apply `overrides` (dotted keys), and validate the result.

    `recipes` are the recipes that the file may be for, the first one the default; without any, the file names its
    recipe. Names that end in the file's model type follow an override of the type. Raise `AsrLabError` listing all
    errors.
    """
    given = nest(read_yaml(path) if path else {})
    named = overrides.get("recipe", given.get("recipe", recipes[0] if recipes else ""))
    where = str(path) if path else "the command line"
    if not isinstance(named, str) or named not in FAMILIES:
        raise AsrLabError(f"unknown recipe {named!r}", where=where, allowed=listing(FAMILIES))
    family = FAMILIES[named]
    if recipes and named not in recipes:
        option = "--config " if family.command in ("adapter", "evaluate") else ""
        raise AsrLabError(
            f"this config is for the recipe {named!r}, not {' or '.join(map(repr, recipes))}",
            where=where,
            next_command=f"asr-lab {family.command} {option}{shlex.quote(str(path))}",
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
    """Convert `hidden_dims: 256` to `[256]`, and add sections that are missing or empty (null)."""
    completed = dict(content)
    for name, info in kind.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = {} if completed.get(name) is None else completed[name]
            completed[name] = _completed(annotation, section) if isinstance(section, Mapping) else section
        elif name not in completed:
            continue
        elif get_args(annotation)[1:] == (Ellipsis,) and not isinstance(completed[name], list | tuple):
            completed[name] = [] if completed[name] == "" else [completed[name]]
    return completed


def keys(kind: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Return all dotted keys of a configuration with their help texts."""
    return {key: " ".join((info.description or "").split()) for key, info in _fields(kind, prefix)}


def required(kind: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the dotted keys of a configuration that have no default."""
    return {key for key, info in _fields(kind, prefix) if info.is_required()}


def _fields(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield all dotted keys of a configuration with their fields."""
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, info


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
    if problem["type"] == "model_type":
        return f"{key}: a section, whose keys are set as {key}.KEY, not {_brief(problem['input'])}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    unquoted = problem["type"] in ("string_type", "path_type", "literal_error") and not isinstance(
        problem["input"], str | None
    )
    advice = "; a text that YAML reads as something else needs quotes" if unquoted else ""
    return f"{key}: {message[0].lower()}{message[1:]}, not {_brief(problem['input'])}" + advice


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
