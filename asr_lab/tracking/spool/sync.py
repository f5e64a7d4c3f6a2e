"""List and ship the spools of a folder: `asr-lab sync`, and in the background of the next run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from asr_lab.errors import AsrLabError, listing
from asr_lab.system import processes
from asr_lab.system.files import remedy
from asr_lab.system.locks import LockError
from asr_lab.tracking.connection import without_password
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.queries.find import AmbiguousRunError, Candidate, RunNotFoundError, choose_among
from asr_lab.tracking.spool.delivery import Delivery
from asr_lab.tracking.spool.spool import Spool, spools, sweep
from asr_lab.tracking.store import client, explain_store_errors, same_store, tracking_uri
from asr_lab.units import counted


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
    next_command: str = ""
    elsewhere: bool = False
    """Not shipped, because it was recorded for another store."""


def waiting(root: Path) -> pd.DataFrame:
    """Return one row per spool: `run`, `id`, `state`, `events`, `refused`, `mb`, `store`.

    The state is recording, cut off, cannot be locked, cannot be read, or the final status. Raises `AsrLabError` if the
    folder cannot be read.
    """
    _check_readable(root)
    rows: list[dict[str, object]] = []
    ready = spools(root, unreadable=lambda folder, _: rows.append(_unreadable_row(folder)))
    rows += [
        {
            "run": name_of(spool),
            "id": spool.id[:8],
            "state": _state(spool),
            "events": spool.waiting(),
            "refused": len(spool.refused()),
            "mb": spool.size() / 1e6,
            "store": without_password(spool.header.uri),
        }
        for spool in ready
    ]
    return pd.DataFrame(rows, columns=["run", "id", "state", "events", "refused", "mb", "store"])


def ship(root: Path, progress: Callable[[int], None] = lambda _: None, *, here: bool = False) -> list[Shipped]:
    """Ship every spool that no other process has locked; a failure does not stop the others.

    Spools recorded for another store are skipped, unless `here`. Raises `StoreUnavailableError` if the store does not
    answer.
    """
    with explain_store_errors("the tracking store cannot be used"):
        store = client(again=True)
        refuse_moved(tracking_uri())
    done: list[Shipped | None] = []
    ready = spools(root, unreadable=lambda folder, error: done.append(_unreadable(folder, error)))
    done += [_ship_one(spool, store, progress, here=here) for spool in ready]
    sweep(root)
    return [one for one in done if one]


def _unreadable(folder: Path, error: Exception) -> Shipped:
    why = remedy(error) if isinstance(error, OSError) else "made by another version of asr_lab, or damaged"
    trouble = f"{folder} cannot be read: {getattr(error, 'strerror', '') or error}; {why}".rstrip("; ")
    return Shipped(folder.name[:8], "", 0, 0, "", trouble)


def _unreadable_row(folder: Path) -> dict[str, object]:
    empty: dict[str, object] = {"events": 0, "refused": 0, "mb": 0.0, "store": ""}
    return {"run": folder.name, "id": folder.name[:8], "state": "cannot be read", **empty}


def _check_readable(root: Path) -> None:
    try:
        if root.exists():
            next(root.iterdir(), None)  # `glob` would take it for empty
    except OSError as error:
        raise AsrLabError(f"{root} cannot be read: {error.strerror}", hint=remedy(error)) from error


def _ship_one(spool: Spool, store: MlflowClient, progress: Callable[[int], None], *, here: bool) -> Shipped | None:
    """Ship a spool; None if another process has shipped it meanwhile."""
    before, elsewhere, error = None, False, None
    try:
        if spool.lock():
            elsewhere = not here and not same_store(spool.header.uri, tracking_uri())
            if not elsewhere:
                spool.seal_console()
                before = spool.waiting()
                _deliver(Delivery(spool, store, progress))
        elif spool.folder.is_dir():
            error = _held(spool)
        else:
            return None
    except AsrLabError as failed:
        error = failed
    except OSError as failed:
        error = AsrLabError(f"{spool.folder}: {failed.strerror or failed}", hint=remedy(failed))
    left, meant = spool.waiting(), without_password(spool.header.uri)
    shipped = before - left if before is not None else 0  # a run that is being recorded goes on meanwhile
    trouble = str(AsrLabError(error.what, where=error.where, hint=error.hint)) if error else ""
    trouble = trouble or ("recorded for another store" if elsewhere else refusals(spool))
    next_command = error.next_command if error else ""
    run = Shipped(name_of(spool), spool.state.run_id, shipped, left, meant, trouble, next_command, elsewhere)
    if spool.locked:
        spool.release() if left or trouble else spool.remove()
    return run


def _held(spool: Spool) -> AsrLabError:
    host, pid = processes.host_and_pid(spool.header.process)
    gone = processes.is_gone(spool.header.process)
    return AsrLabError(
        f"{name_of(spool)} is locked by another process",
        where=f"{spool.folder}, begun by process {pid} on {host}{', which is gone' if gone else ''}",
        hint="another command ships it, or the file system denies locks: try again"
        if gone
        else "a running training ships what it recorded, or says at its end what is left",
    )


def _state(spool: Spool) -> str:
    try:
        free = spool.lock()
    except LockError:
        return "cannot be locked"
    spool.release()
    return (spool.ended() or "cut off") if free else "recording"


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
                        spool.seal_console()
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
    return f"{counted(len(refused), 'event', 'are')} refused: {refused[0]['why']} ({spool.folder}/refused.jsonl)"
