"""Header and upload state of a spool; each is a small file that is written atomically."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Header:
    """Identity of a run: enough to create it on a store, and to resume it after its process was killed."""

    uri: str
    """Tracking store of the run, with its password: only the owner can read the file."""
    family: str
    kind: str
    signature: str
    name: str
    """Without the id."""
    started_ms: int
    tags: Mapping[str, str]
    process: str


@dataclass(frozen=True)
class State:
    """Progress of the upload."""

    run_id: str = ""
    """On the store; empty until the run is created."""
    offset: int = 0
    """Bytes of shipped events."""
    attempts: int = 0
    """Number of create requests: a response may have been lost."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Path in the spool -> URI on the store."""
