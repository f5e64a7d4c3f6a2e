"""List and ship the spools of a folder: `asr-lab sync`, and in the background of the next run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking.connection import without_password
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.queries.find import AmbiguousRunError, Candidate, RunNotFoundError, choose_among
from asr_lab.tracking.spool.spool import Spool, spools, sweep
from asr_lab.tracking.spool.upload import Delivery
from asr_lab.tracking.store import client, explain_store_errors, same_store, tracking_uri


@dataclass(frozen=True)
class Shipped:
    """Result of shipping one spool."""

    name: str
    run_id: str
    """On the store; empty if the run is not there."""
    events: int
    """Number shipped now."""
    left: int
    store: str
    """The store it was recorded for, without password."""
    trouble: str = ""
    elsewhere: bool = False
    """Not shipped, because it was recorded for another store."""


def waiting(root: Path) -> pd.DataFrame:
    """Return one row per spool: `run`, `id`, `state` (recording, cut off, final status), `events`, `mb`, `store`."""
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
    """Ship every spool that is not locked by another process; a failure does not stop the others.

    Spools recorded for another store are skipped, unless `here`. Raises `StoreUnavailableError` if the store does not
    answer.
    """
    with explain_store_errors("the tracking store cannot be used"):
        store = client(again=True)
        refuse_moved(tracking_uri())
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
    """Ship a spool; the store where its run is created becomes its store."""
    spool = delivery.spool
    is_made = bool(spool.state.run_id)
    try:
        delivery.deliver()
        delivery.deliver_refused()
    finally:
        if spool.state.run_id and not is_made and not same_store(spool.header.uri, tracking_uri()):
            spool.describe(replace(spool.header, uri=tracking_uri()))


def outcome(done: Sequence[Shipped]) -> pd.DataFrame:
    """Return one row per spool: `run`, `run_id`, `shipped`, `left` (events), its `store`, `trouble`."""
    columns = ["run", "run_id", "shipped", "left", "store", "trouble"]
    rows = [(one.name, one.run_id, one.events, one.left, one.store, one.trouble) for one in done]
    return pd.DataFrame(rows, columns=columns)


def ship_leftovers(root: Path, uri: str) -> None:
    """Ship the spools of earlier runs for the same store; errors leave them for later."""
    with suppress(Exception):
        store = client()
        for spool in spools(root, lambda spool: same_store(spool.header.uri, uri)):
            with suppress(Exception):  # a failure does not stop the others
                if spool.lock():
                    try:
                        Delivery(spool, store).deliver()
                    finally:
                        spool.release() if spool.waiting() else spool.remove()
        sweep(root)


def drop(root: Path, id: str) -> str:
    """Delete the spool of a run, and return its name; raises `AsrLabError` if there is none or it is recording."""
    spool = find_spool(root, id)
    if not spool.lock():
        raise AsrLabError(f"{name_of(spool)} is being recorded", where=str(spool.folder))
    name = name_of(spool)
    spool.remove()
    return name


def find_spool(root: Path, word: str) -> Spool:
    """Return the spool of a run by its name, its id, or its id on the store, as all commands name runs."""
    candidates = spools(root)
    matches = choose_among(word, candidates, _candidate)
    if len(matches) > 1:
        raise AmbiguousRunError(word, [_candidate(spool) for spool in matches], next_command="asr-lab sync --dry-run")
    if not matches:
        raise RunNotFoundError(
            f"no pending run {word!r}",
            where=str(root),
            allowed=listing(map(name_of, candidates)) or "nothing is pending",
            next_command="asr-lab sync --dry-run",
        )
    return matches[0]


def _candidate(spool: Spool) -> Candidate:
    return Candidate(run_id=spool.id, name=name_of(spool), former_id=spool.state.run_id)


def name_of(spool: Spool) -> str:
    """Return the name of the run of a spool."""
    return f"{spool.header.name}-{(spool.state.run_id or spool.id)[:8]}"


def refusals(spool: Spool) -> str:
    """Describe the refused events; "" if there are none."""
    refused = spool.refused()
    if not refused:
        return ""
    return f"{len(refused)} events are refused: {refused[0]['why']} ({spool.folder}/refused.jsonl)"
