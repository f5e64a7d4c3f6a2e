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
from asr_lab.config.nearby import nearby_configs
from asr_lab.config.schema import ALIASES
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import FAMILIES, config_class

E = TypeVar("E", bound=BaseModel)

_NEXT_KEY = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")
_QUOTED = re.compile(r"""=\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?=,|$)""")
_WHOLE = re.compile(r"[+-]?\d{1,300}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)
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


_UNIONS = (Union, UnionType)


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
    return _number(text) if any(leaf is str or _is_choice(leaf) for leaf in leaves) else _value(text)


def _number(text: str) -> Any:
    """Return a decimal number, or the text; YAML would take 010 for 8 and 1:30 for 90."""
    return int(text) if _WHOLE.fullmatch(text) else float(text) if _NUMBER.fullmatch(text) else text


def _value(text: str) -> Any:
    if "," in text and not text.startswith(("[", "{", "'", '"')):
        return [_value(item.strip()) for item in text.split(",") if item.strip()]
    if not text.startswith(("[", "{", "'", '"')) and text.lower() not in _WORDS:
        return _number(text)
    try:
        return yaml.load(text, Loader=_Decimal)
    except yaml.YAMLError:
        return text


class _Decimal(yaml.SafeLoader):
    """YAML whose numbers are decimal and finite, and which has no dates."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        return _number(str(self.construct_scalar(node)))


_NUMBER_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
_Decimal.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _NUMBER_TAGS]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Decimal.add_implicit_resolver("!number", _NUMBER, list("+-.0123456789"))
_Decimal.add_constructor("!number", _Decimal.construct_number)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping with nested or dotted keys."""
    if not path.is_file():
        known = nearby_configs()
        raise AsrLabError(
            "no such config file",
            where=str(path),
            allowed=listing(known) or "a YAML file",
            next_command="" if known else "asr-lab init",
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AsrLabError(f"not valid YAML: {error}", where=str(path)) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise AsrLabError("a config file holds `key: value` lines", where=str(path))
    if odd := list(_odd_keys(content)):
        raise AsrLabError(
            f"keys that YAML does not read as texts: {listing(odd)}", where=str(path), allowed='"no": ...'
        )
    return content


def _odd_keys(content: Any) -> Iterator[Any]:
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if not isinstance(key, str):
            yield key
        yield from _odd_keys(value)


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
    message = str(problem["msg"]).removeprefix("Value error, ")
    unquoted = problem["type"] in ("string_type", "path_type", "literal_error") and not isinstance(
        problem["input"], str | None
    )
    advice = "; a text that YAML reads as something else needs quotes" if unquoted else ""
    return f"{key}: {message[0].lower()}{message[1:]}, not {_brief(problem['input'])}" + advice


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


_LONGEST_SHOWN = 200  # characters of a value in a message
