"""A spool's events, sent to the tracking store in batches; sent twice they are there once.

What may be sent again after a crash between the sending and the noting of it: metric points (the store knows a point
by key, value, time and step), params, tags, datasets, artifacts, runs, models and versions (looked up first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from shutil import rmtree

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from asr_lab.errors import AsrLabError
from asr_lab.tracking.connection import StoreUnavailableError, without_password
from asr_lab.tracking.spool.created_runs import run_id_on_store, run_of_spool
from asr_lab.tracking.spool.journal import Event
from asr_lab.tracking.spool.sender import Sender, groups
from asr_lab.tracking.spool.spool import OutsideError, Spool
from asr_lab.tracking.store import experiment_id, first_line, is_final, is_missing, shown_uri, without_retries
from asr_lab.tracking.tags import PROCESS, SPOOL


class RunGoneError(AsrLabError):
    """The run was deleted on the store: nothing can be recorded into it."""


@dataclass
class Delivery:
    """Ships one spool that this process has locked."""

    spool: Spool
    client: MlflowClient
    progress: Callable[[int], None] = lambda _: None
    """Told how many more events the store has."""
    stopped: Callable[[], bool] = lambda: False
    """Asked before each request whether to leave the rest."""
    sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        self.sender = Sender(self.spool, self.client)

    def deliver(self) -> None:
        """Ship all pending events; set aside those that the store refuses for good.

        Raises `StoreUnavailableError` if the store cannot take them now, `RunGoneError` if the run was deleted.
        Events shipped before the error stay shipped.
        """
        with self._explain_errors():
            self.make_run()
            while events := self.spool.read():
                for group in groups(events):
                    if self.stopped():
                        return
                    self._send(group)
                    self.spool.save(offset=group[-1].end)
                    self._clear(group)
                    self.progress(len(group))

    def deliver_refused(self) -> None:
        """Offer what was set aside once more; raises as `deliver` does."""
        with self._explain_errors():
            self.spool.retry_refused(lambda event: self._refusal([event]) is None)

    # the run

    def make_run(self) -> None:
        """Have the run on the store: made now, or earlier by a request whose answer was lost."""
        state, header = self.spool.state, self.spool.header
        if state.run_id:
            return
        run_id = run_of_spool(self.client, self.spool.id)  # also one of another copy of this spool
        self.spool.save(attempts=state.attempts + 1)
        tags = dict(header.tags) | {SPOOL: self.spool.id, PROCESS: header.process}
        if MLFLOW_PARENT_RUN_ID in tags:
            tags[MLFLOW_PARENT_RUN_ID] = run_id_on_store(self.client, self.spool, tags[MLFLOW_PARENT_RUN_ID])
        if not run_id:
            experiment = experiment_id(self.client, header.family)
            with without_retries():
                run = self.client.create_run(experiment, start_time=header.started_ms, run_name=header.name, tags=tags)
            run_id = str(run.info.run_id)
        self.spool.save(run_id=run_id)

    # the events

    def _send(self, group: Sequence[Event]) -> None:
        """Send a group; when it is refused, its events one by one, and set aside those that are."""
        if self._refusal(group) is None:
            return
        for event in group:
            why = self._refusal([event])
            if why is not None:
                self.spool.refuse(event, why)

    def _refusal(self, group: Sequence[Event]) -> str | None:
        """Send; why the store will never take it, or None when it did."""
        try:
            self.sender.send(group)
        except Exception as error:
            if isinstance(error, FileNotFoundError | KeyError | OutsideError) or _too_large(error):
                return str(error)
            if not is_final(error):
                raise
            self._refuse_gone()
            return _error_line(error)
        return None

    def _clear(self, group: Sequence[Event]) -> None:
        """Free the disk of what the store has."""
        refused = {line.get("file") for line in self.spool.refused()}
        for event in group:
            file = event.content.get("file")
            if file and file not in refused:
                with suppress(OutsideError):  # not ours to free
                    rmtree(self.spool.file(file).parent, ignore_errors=True)

    # what went wrong

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """A store, its driver or a proxy may raise anything: the events stay, and it is said what it means."""
        try:
            yield
        except AsrLabError:
            raise
        except Exception as error:
            raise self._explained(error) from error

    def _refuse_gone(self) -> None:
        """Raise `RunGoneError` when it is the run itself that the store does not have."""
        run_id = self.spool.state.run_id
        try:
            if self.client.get_run(run_id).info.lifecycle_stage == "active":
                return
        except MlflowException as error:
            if not is_missing(error):
                raise
        raise RunGoneError(
            f"run {run_id[:8]} was deleted, or belongs to another store: what it recorded waits",
            where=f"{self.spool.folder}, recorded for {without_password(self.spool.header.uri)}; "
            f"the store is {shown_uri()}",
            hint="restore it, set MLFLOW_TRACKING_URI to its store, or drop what waits",
            next_command=f"asr-lab sync --drop {self.spool.id[:8]}",
        )

    def _explained(self, error: Exception) -> AsrLabError:
        if is_final(error) and self.spool.state.run_id:
            try:
                self._refuse_gone()
            except RunGoneError as gone:
                return gone
            except Exception:  # it is not there to be asked
                what = f"the tracking store does not answer: {_error_line(error)}"
                return StoreUnavailableError(what, where=shown_uri())
        return StoreUnavailableError(f"the tracking store does not take it: {_error_line(error)}", where=shown_uri())


def _error_line(error: Exception) -> str:
    """The first line of what went wrong."""
    return (first_line(str(error)) or type(error).__name__)[:200]


def _too_large(error: Exception) -> bool:
    """Whether a server says that a file is larger than it takes."""
    return getattr(getattr(error, "response", None), "status_code", 0) == 413
