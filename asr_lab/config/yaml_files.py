"""Read YAML with decimal numbers, and without dates or duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from asr_lab.config.dotted import leaves
from asr_lab.config.nearby import nearby_configs
from asr_lab.errors import AsrLabError, listing

_WHOLE = re.compile(r"[+-]?\d{1,300}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)


def number(text: str) -> Any:
    """Return a decimal number, or the text; YAML would read 010 as 8 and 1:30 as 90."""
    return int(text) if _WHOLE.fullmatch(text) else float(text) if _NUMBER.fullmatch(text) else text


class DecimalYaml(yaml.SafeLoader):
    """A loader of YAML that reads numbers as decimal and dates as text, and refuses duplicate keys."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        return number(str(self.construct_scalar(node)))

    def construct_text(self, node: yaml.ScalarNode) -> str:
        return str(self.construct_scalar(node))

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # before `<<` merges others
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


for _kind in ("int", "float"):
    DecimalYaml.add_constructor(f"tag:yaml.org,2002:{_kind}", DecimalYaml.construct_number)
DecimalYaml.add_constructor("tag:yaml.org,2002:timestamp", DecimalYaml.construct_text)


class OverrideYaml(DecimalYaml):
    """The same, but 1e3 is a number too; not for files, where PyYAML writes the text `1e3` without quotes."""


OverrideYaml.add_implicit_resolver("!number", _NUMBER, list("+-.0123456789"))
OverrideYaml.add_constructor("!number", OverrideYaml.construct_number)


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
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=DecimalYaml)
        return _checked({} if content is None else content, path)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise AsrLabError(f"not valid YAML: {error}", where=str(path)) from error


def _checked(content: Any, path: Path) -> dict[str, Any]:
    """Return a mapping of unique text keys; raises `AsrLabError` if it is not one, `RecursionError` if cyclic."""
    if not isinstance(content, dict):
        raise AsrLabError("a config file holds `key: value` lines", where=str(path))
    if odd := list(_odd_keys(content)):
        raise AsrLabError(f"keys that YAML does not read as text: {listing(odd)}", where=str(path), allowed='"no": ...')
    given = [key for key, _ in leaves(content)]
    if twice := sorted({key for key in given if given.count(key) > 1 or any(k.startswith(f"{key}.") for k in given)}):
        raise AsrLabError(f"keys that are given twice: {listing(twice)}", where=str(path))
    return content


def _odd_keys(content: Any) -> Iterator[Any]:
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if not isinstance(key, str):
            yield key
        yield from _odd_keys(value)
