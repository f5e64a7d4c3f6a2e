"""Convert between dotted keys (`train.lr`) and nested mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nest(pairs: Mapping[str, Any], into: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Convert dotted keys to nested dictionaries, merged into a copy of `into`."""
    nested: dict[str, Any] = dict(into or {})
    for key, value in pairs.items():
        head, dot, tail = key.partition(".")
        if dot:
            inner = nested.get(head)
            nested[head] = nest({tail: value}, inner if isinstance(inner, Mapping) else {})
        elif isinstance(value, Mapping):
            inner = nested.get(head)
            nested[head] = nest(value, inner if isinstance(inner, Mapping) else {})
        else:
            nested[head] = value
    return nested


def leaves(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of each leaf of nested mappings."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
