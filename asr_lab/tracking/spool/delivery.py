"""Upload a spool's events to the tracking store in batches.

Uploads are idempotent, since a crash may repeat one: metric points are identified by key, value, time and step; params,
tags, datasets and artifacts are overwritten; runs, models and versions are looked up first.
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
from asr_lab.tracking.models.names import OtherKindError
from asr_lab.tracking.spool.created_runs import run_id_on_store, run_of_spool
from asr_lab.tracking.spool.journal import Event
from asr_lab.tracking.spool.sender import Sender, groups
from asr_lab.tracking.spool.spool import OutsideError, Spool
from asr_lab.tracking.store import experiment_of, first_line, is_final, is_missing, shown_uri, without_retries
from asr_lab.tracking.tags import PROCESS, SPOOL
from asr_lab.tracking.ui import views


class RunGoneError(AsrLabError):
    """The run was deleted on the store."""


@dataclass
class Delivery:
    """Ships one spool that this process has locked."""

    spool: Spool
    client: MlflowClient
    progress: Callable[[int], None] = lambda _: None
    """Called with the number of events of each request."""
    stopped: Callable[[], bool] = lambda: False
    """Called before each request; True leaves the rest."""
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
        """Retry the refused events; raises as `deliver` does."""
        with self._explain_errors():
            self.spool.retry_refused(lambda event: self._refusal([event]) is None)

    # the run

    def make_run(self, *, is_new: bool = False) -> None:
        """Create the run on the store, or find it if the response to an earlier request was lost.

        `is_new`: the spool was made just now, so that no run of it can be there.
        """
        state, header = self.spool.state, self.spool.header
        if state.run_id:
            return
        run_id = "" if is_new else run_of_spool(self.client, self.spool.id)  # also if created by a copy of this spool
        self.spool.save(attempts=state.attempts + 1)
        tags = dict(header.tags) | {SPOOL: self.spool.id, PROCESS: header.process}
        if MLFLOW_PARENT_RUN_ID in tags:
            tags[MLFLOW_PARENT_RUN_ID] = run_id_on_store(self.client, self.spool, tags[MLFLOW_PARENT_RUN_ID])
        if not run_id:
            experiment = experiment_of(self.client, header.family)
            with suppress(MlflowException):  # a run needs no view
                views.describe_new(self.client, experiment, header.family)
            with without_retries():
                run = self.client.create_run(
                    experiment.experiment_id, start_time=header.started_ms, run_name=header.name, tags=tags
                )
            run_id, self.spool.artifact_uri = str(run.info.run_id), str(run.info.artifact_uri)
        self.spool.save(run_id=run_id)

    # the events

    def _send(self, group: Sequence[Event]) -> None:
        """Send a group; if it is refused, send its events one by one and set aside the refused ones."""
        if self._refusal(group) is None:
            return
        for event in group:
            why = self._refusal([event])
            if why is not None:
                self.spool.refuse(event, why)

    def _refusal(self, group: Sequence[Event]) -> str | None:
        """Send a group; return why the store refuses it for good, or None."""
        try:
            self.sender.send(group)
        except Exception as error:
            if isinstance(error, OtherKindError):
                return error.what
            if isinstance(error, FileNotFoundError | KeyError | OutsideError) or _too_large(error):
                return str(error)
            if not is_final(error):
                raise
            self._refuse_gone()
            return _error_line(error)
        return None

    def _clear(self, group: Sequence[Event]) -> None:
        """Delete the local files of shipped events."""
        refused = {line.get("file") for line in self.spool.refused()}
        for event in group:
            file = event.content.get("file")
            if file and file not in refused:
                with suppress(OutsideError):  # not ours to free
                    rmtree(self.spool.file(file).parent, ignore_errors=True)

    # what went wrong

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Turn any error of a store, its driver or a proxy into an `AsrLabError`; the events stay."""
        try:
            yield
        except AsrLabError:
            raise
        except Exception as error:
            raise self._explained(error) from error

    def _refuse_gone(self) -> None:
        """Raise `RunGoneError` if the store does not have the run."""
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
            hint="restore it, set MLFLOW_TRACKING_URI to its store, or drop the spool",
            next_command=f"asr-lab sync --drop {self.spool.id[:8]}",
        )

    def _explained(self, error: Exception) -> AsrLabError:
        if is_final(error) and self.spool.state.run_id:
            try:
                self._refuse_gone()
            except RunGoneError as gone:
                return gone
            except Exception:  # the store does not answer
                what = f"the tracking store does not answer: {_error_line(error)}"
                return StoreUnavailableError(what, where=shown_uri())
        return StoreUnavailableError(f"the tracking store refused the request: {_error_line(error)}", where=shown_uri())


def _error_line(error: Exception) -> str:
    """Return the first line of an error."""
    return (first_line(str(error)) or type(error).__name__)[:200]


def _too_large(error: Exception) -> bool:
    """Return whether a server rejected a file as too large."""
    return getattr(getattr(error, "response", None), "status_code", 0) == 413
