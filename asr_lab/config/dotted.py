"""Dotted keys (`train.lr`) and nested mappings, one as the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nest(pairs: Mapping[str, Any], into: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Dotted keys as nested dictionaries, laid over `into` (which stays as it is)."""
    whole: dict[str, Any] = dict(into or {})
    for key, value in pairs.items():
        head, dot, tail = key.partition(".")
        if dot:
            inner = whole.get(head)
            whole[head] = nest({tail: value}, inner if isinstance(inner, Mapping) else {})
        elif isinstance(value, Mapping):
            inner = whole.get(head)
            whole[head] = nest(value, inner if isinstance(inner, Mapping) else {})
        else:
            whole[head] = value
    return whole


def leaves(said: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys, each with its value."""
    for key, value in said.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
