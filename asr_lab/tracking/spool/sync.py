"""What waits in a folder of spools, and shipping it: by `asr-lab sync`, and beside the next run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.connection import without_password
from asr_lab.tracking.queries.find import AmbiguousRunError, Candidate, RunNotFoundError, choose_among
from asr_lab.tracking.spool.spool import Spool, spools, sweep
from asr_lab.tracking.spool.upload import Delivery
from asr_lab.tracking.store import client, explain_store_errors, same_store, tracking_uri


@dataclass(frozen=True)
class Shipped:
    """What became of one spool."""

    name: str
    run_id: str
    """On the store; empty when the run is not there."""
    events: int
    """Shipped now."""
    left: int
    store: str
    """The one it was recorded for, as it may be shown."""
    trouble: str = ""
    elsewhere: bool = False
    """Whether it was left because that is another store than this one."""


def waiting(root: Path) -> pd.DataFrame:
    """A row a spool: `run`, `id`, `state` (waiting, recording, or how the run ended), `events`, `mb`, `store`."""
    rows = []
    for spool in spools(root):
        free = spool.lock()
        spool.release()
        rows.append(
            {
                "run": name_of(spool),
                "id": spool.id[:8],
                "state": (spool.ended() or "cut off") if free else "recording",
                "events": spool.waiting(),
                "refused": len(spool.refused()),
                "mb": spool.size() / 1e6,
                "store": without_password(spool.header.uri),
            }
        )
    return pd.DataFrame(rows, columns=["run", "id", "state", "events", "refused", "mb", "store"])


def ship(root: Path, progress: Callable[[int], None] = lambda _: None, *, here: bool = False) -> list[Shipped]:
    """Ship every spool that no living process has; one that fails does not keep back the others.

    One that was recorded for another store than the one that is set is left, but with `here`.
    Raises `StoreUnavailableError` when the store does not answer at all.
    """
    with explain_store_errors("the tracking store cannot be used"):
        store = client(again=True)
    done = []
    for spool in spools(root):
        if not spool.lock():
            continue
        before, trouble = spool.waiting(), ""
        elsewhere = not here and not same_store(spool.header.uri, tracking_uri())
        try:
            if not elsewhere:
                _deliver(Delivery(spool, store, progress))
        except AsrLabError as error:
            trouble = str(error)
        left, meant = spool.waiting(), without_password(spool.header.uri)
        trouble = trouble or ("recorded for another store" if elsewhere else refusals(spool))
        done.append(Shipped(name_of(spool), spool.state.run_id, before - left, left, meant, trouble, elsewhere))
        spool.release() if left or trouble or elsewhere else spool.remove()
    sweep(root)
    return done


def _deliver(delivery: Delivery) -> None:
    """Ship all of it; the store on which the run was made is its own from then on."""
    spool = delivery.spool
    is_made = bool(spool.state.run_id)
    try:
        delivery.deliver()
        delivery.deliver_refused()
    finally:
        if spool.state.run_id and not is_made and not same_store(spool.header.uri, tracking_uri()):
            spool.describe(replace(spool.header, uri=tracking_uri()))


def outcome(done: Sequence[Shipped]) -> pd.DataFrame:
    """A row a spool: `run`, `run_id`, `shipped`, `left` (events), the `store` it was recorded for, `trouble`."""
    columns = ["run", "run_id", "shipped", "left", "store", "trouble"]
    rows = [(one.name, one.run_id, one.events, one.left, one.store, one.trouble) for one in done]
    return pd.DataFrame(rows, columns=columns)


def ship_leftovers(root: Path, uri: str) -> None:
    """Ship in the background what earlier runs for the same store left here; whatever goes wrong waits further."""
    with suppress(Exception):
        store = client()
        for spool in spools(root, lambda spool: same_store(spool.header.uri, uri)):
            with suppress(Exception):  # one that fails does not keep back the others
                if spool.lock():
                    try:
                        Delivery(spool, store).deliver()
                    finally:
                        spool.release() if spool.waiting() else spool.remove()
        sweep(root)


def drop(root: Path, id: str) -> str:
    """Throw away what waits of one run; its name. Raises `AsrLabError` when there is no such run or it is recording."""
    spool = find_spool(root, id)
    if not spool.lock():
        raise AsrLabError(f"{name_of(spool)} is being recorded", where=str(spool.folder))
    name = name_of(spool)
    spool.remove()
    return name


def find_spool(root: Path, word: str) -> Spool:
    """The spool of a run, named by the rules of every command; its run's id on the store is its id too."""
    every = spools(root)
    hits = choose_among(word, every, _candidate)
    if len(hits) > 1:
        raise AmbiguousRunError(word, [_candidate(spool) for spool in hits], next_command="asr-lab sync --dry-run")
    if not hits:
        raise RunNotFoundError(
            f"no run {word!r} waits here",
            where=str(root),
            allowed=listing(map(name_of, every)) or "nothing waits",
            next_command="asr-lab sync --dry-run",
        )
    return hits[0]


def _candidate(spool: Spool) -> Candidate:
    return Candidate(run_id=spool.id, name=name_of(spool), former_id=spool.state.run_id)


def name_of(spool: Spool) -> str:
    """What the run of a spool is called."""
    return f"{spool.header.name}-{(spool.state.run_id or spool.id)[:8]}"


def refusals(spool: Spool) -> str:
    """What the store will never take of it, in words; "" when there is nothing."""
    refused = spool.refused()
    if not refused:
        return ""
    return f"{len(refused)} events are refused: {refused[0]['why']} ({spool.folder}/refused.jsonl)"
