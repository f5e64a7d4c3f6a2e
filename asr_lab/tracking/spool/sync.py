"""What waits in a folder of spools, and shipping it: by `asr-lab sync`, and beside the next run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.spool.shipping import Delivery
from asr_lab.tracking.spool.spool import Spool, spools
from asr_lab.tracking.store import client, reaching


@dataclass(frozen=True)
class Shipped:
    """What became of one spool."""

    name: str
    run_id: str
    """On the store; empty when the run is not there."""
    events: int
    """Shipped now."""
    left: int
    trouble: str = ""


def waiting(root: Path) -> pd.DataFrame:
    """A row a spool: `run`, `id`, `state` (waiting, recording, or how the run ended), `events`, `mb`, `store`."""
    rows = []
    for spool in spools(root):
        free = spool.lock()
        spool.release()
        rows.append(
            {
                "run": _name(spool),
                "id": spool.id[:8],
                "state": (spool.ended() or "cut off") if free else "recording",
                "events": spool.waiting(),
                "refused": len(spool.refused()),
                "mb": spool.size() / 1e6,
                "store": spool.header.uri,
            }
        )
    return pd.DataFrame(rows, columns=["run", "id", "state", "events", "refused", "mb", "store"])


def ship(root: Path, progress: Callable[[int], None] = lambda _: None) -> list[Shipped]:
    """Ship every spool that no living process has; one that fails does not keep back the others.

    Raises `StoreAwayError` when the store does not answer at all.
    """
    with reaching("the tracking store cannot be used"):
        store = client(again=True)
    done = []
    for spool in spools(root):
        if not spool.lock():
            continue
        before = spool.waiting()
        trouble = ""
        try:
            delivery = Delivery(spool, store, progress)
            delivery.deliver()
            delivery.again()
        except AsrLabError as error:
            trouble = str(error)
        left = spool.waiting()
        done.append(Shipped(_name(spool), spool.state.run_id, before - left, left, trouble or refusals(spool)))
        spool.release() if left or trouble else spool.remove()
    return done


def ship_leftovers(root: Path, uri: str) -> None:
    """Ship in the background what earlier runs for the same store left here; whatever goes wrong waits further."""
    with suppress(Exception):
        store = client()
        for spool in spools(root, lambda spool: spool.header.uri == uri):
            if spool.lock():
                try:
                    Delivery(spool, store).deliver()
                finally:
                    spool.release() if spool.waiting() else spool.remove()


def drop(root: Path, id: str) -> str:
    """Throw away what waits of one run; its name. Raises `AsrLabError` when there is no such run or it is recording."""
    spool = one(root, id)
    if not spool.lock():
        raise AsrLabError(f"{_name(spool)} is being recorded", where=str(spool.folder))
    name = _name(spool)
    spool.remove()
    return name


def one(root: Path, id: str) -> Spool:
    """The spool whose id begins so, or whose run is called so."""
    found = spools(root)
    hits = [spool for spool in found if spool.id.startswith(id) or _name(spool) == id]
    if len(hits) != 1:
        names = listing(_name(spool) for spool in (hits or found))
        raise AsrLabError(
            f"no run {id!r} waits here" if not hits else f"{len(hits)} runs are called like {id!r}",
            where=str(root),
            allowed=names or "nothing waits",
            next_command="asr-lab sync --dry-run",
        )
    return hits[0]


def _name(spool: Spool) -> str:
    return f"{spool.header.name}-{(spool.state.run_id or spool.id)[:8]}"


def refusals(spool: Spool) -> str:
    """What the store will never take of it, in words; "" when there is nothing."""
    refused = spool.refused()
    if not refused:
        return ""
    return f"{len(refused)} events are refused: {refused[0]['why']} ({spool.folder}/refused.jsonl)"
