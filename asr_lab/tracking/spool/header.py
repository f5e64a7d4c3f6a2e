"""What a spool says of its run, and how far the store has got; each a small file that is written whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Header:
    """What the run is; enough to make it on a store, and to know it again when its process was killed."""

    uri: str
    """The tracking store it was started for, with the password where it has one: the file is its owner's alone."""
    family: str
    kind: str
    signature: str
    name: str
    """Without the id's part."""
    started_ms: int
    tags: Mapping[str, str]
    process: str


@dataclass(frozen=True)
class State:
    """How far the store has got."""

    run_id: str = ""
    """On the store; empty until the run is there."""
    offset: int = 0
    """Bytes of the events that are shipped."""
    attempts: int = 0
    """How often the run was about to be made: an answer may have been lost."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Path in the spool -> URI on the store."""
