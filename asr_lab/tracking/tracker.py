"""Starting runs on MLflow, by the contract of their tags, params, metrics and artifacts.

Everything is written to the run's spool on this disk first, and shipped from there in the background: the run neither
waits for the tracking store nor dies of it. What the store did not take by the end waits for `asr-lab sync` or the
next run.

Under `mlflow run` the run that MLflow made (`MLFLOW_RUN_ID`) is adopted, in whatever experiment it lies. A run of the
same signature that is still RUNNING although its process is gone was cut off, and is continued.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import MERGED, FinishedRun, RunSpec, Status
from asr_lab.system import libraries, processes
from asr_lab.system.distributed import rank_and_world_size
from asr_lab.system.stopping import held
from asr_lab.tracking import orphans, provenance
from asr_lab.tracking.clock import Clock, clock_of
from asr_lab.tracking.connection import StoreUnavailableError
from asr_lab.tracking.models.names import refuse_other_kind
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.notifications import report
from asr_lab.tracking.queries import runs
from asr_lab.tracking.queries.score_tables import read_table
from asr_lab.tracking.recorder import MlflowRecorder
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.created_runs import run_of_spool
from asr_lab.tracking.spool.delivery import Delivery
from asr_lab.tracking.spool.header import Header
from asr_lab.tracking.spool.spool import ROOT, Spool, new_id, now_ms
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import explain_store_errors, shown_uri, tracking_uri
from asr_lab.tracking.tags import (
    COMMAND,
    CONTINUED_BY,
    FAMILY,
    HARDWARE,
    KIND,
    MODEL_TYPE,
    PROCESS,
    RESUMED_FROM,
    SIGNATURE,
    THREADS,
    VERSIONS,
    WORLD_SIZE,
)
from asr_lab.tracking.ui import colors


class MlflowTracker:
    """Starts runs on the tracking store; `offline`, and where the store does not answer, in the spool alone."""

    def __init__(self, *, new_run: bool = False, offline: bool = False) -> None:
        """`new_run`: nothing of earlier runs is continued or reused, but for those of earlier attempts of this job."""
        self.new_run, self.offline = new_run, offline
        self._leftovers: threading.Thread | None = None
        self._warned_of_clock = False

    def announce(self, family: str) -> None:
        """Mark the run that MLflow handed to this process as ours, before anything long begins.

        If it is killed before it starts recording, its dead process identifies it, and it is closed.
        """
        run_id = os.environ.get("MLFLOW_RUN_ID", "")
        if not run_id or self.offline:
            return
        try:
            with explain_store_errors("the run that MLflow made cannot be used"):
                refuse_moved(tracking_uri())
                tags = {FAMILY: family, PROCESS: processes.process_mark()}
                tracking_client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        except StoreUnavailableError:
            return  # the run itself will say so

    def start(self, spec: RunSpec, *, own: bool = False) -> MlflowRecorder:
        """A run for `spec`: the one MLflow handed to this process (never when `own`), one cut off, or a new one.

        Raises `BrokenLibraryError`, before there is a run, when torch or torchaudio does not load.
        """
        libraries.require()
        client = self._client("" if own else os.environ.get("MLFLOW_RUN_ID", ""), tidies=not spec.parent)
        adopted = "" if own else os.environ.get("MLFLOW_RUN_ID", "")
        clock = self._clock(client)
        header = _header(spec, clock, adopted=bool(adopted))
        seeks = spec.resumable and self._reuses
        orphan = orphans.find_in_spool(spec, own=self.new_run) if seeks else None
        if client and seeks:
            try:
                with explain_store_errors("the tracking store cannot be used"):
                    orphan = _orphan(client, spec, header, orphan, own=self.new_run)
            except StoreUnavailableError as away:
                client = self._go_on_without(away)
        if client and spec.registers and (name := spec.params.get("run.register_as")):
            with suppress(StoreUnavailableError):  # delivery checks it again
                refuse_other_kind(str(name), spec.family)
        with held(raises=False):  # `with` the recorder, which closes the run then
            if adopted:
                os.environ.pop("MLFLOW_RUN_ID")
                spool = Spool.create(ROOT, adopted, header, run_id=adopted)
                if client:
                    _unmark(client, adopted)
                if orphan:
                    _hand_over(orphan, spool)
            else:
                spool = orphan or self._new(client, header)
            spool.clock = clock
            return self._record(spool, spec, header, resumed=orphan is not None, ship=client is not None)

    def reopen(self, spec: RunSpec, run_id: str) -> MlflowRecorder:
        """Go on recording into a run, ended or not; a new one where it is deleted, or MLflow handed one to us."""
        client = self._client("")
        waits = (ROOT / run_id).is_dir()
        if client and not waits:
            run_id = run_of_spool(client, run_id) or run_id  # it began without the store, which has it by now
        if "MLFLOW_RUN_ID" in os.environ or not (waits or (client and orphans.is_active(client, run_id))):
            return self.start(spec)
        clock = self._clock(client)
        header = _header(spec, clock)
        with held(raises=False):
            spool = Spool.create(ROOT, run_id, header, run_id="" if waits else run_id)
            spool.clock = clock
            return self._record(spool, spec, header, resumed=True, ship=client is not None)

    def close(self, run_id: str, status: Status, why: str) -> None:
        """End a run whose process is gone: ship its pending data, and delete its checkpoints."""
        client = self._client("")
        orphans.close(client, run_id, status, why)

    def _record(self, spool: Spool, spec: RunSpec, header: Header, *, resumed: bool, ship: bool) -> MlflowRecorder:
        spool.describe(header)
        if ship and not self._leftovers:
            self._leftovers = threading.Thread(target=sync.ship_leftovers, args=(ROOT, tracking_uri()), daemon=True)
            self._leftovers.start()
        return MlflowRecorder(spool, spec, resumed=resumed, offline=self.offline, leftovers=self._leftovers)

    def finished(self, spec: RunSpec, *, own: bool = False) -> FinishedRun | None:
        """None too where nothing is to be taken from the store, or it does not answer."""
        own = own or self.new_run
        if self.offline or (own and not processes.has_earlier_attempts()):
            return None
        try:
            alike = f"tags.`{SIGNATURE}` = '{spec.signature}' and tags.`{KIND}` = '{spec.kind}'"
            finished = runs.find(where=alike, status="FINISHED", archived=False)
        except StoreUnavailableError:
            return None  # the run that is started will say so
        if own:
            finished = [run for run in finished if processes.is_earlier_attempt(run.data.tags.get(PROCESS, ""))]
        fitting = (run for run in finished if _is_merged(run) == (MERGED in spec.tags))
        return next(filter(None, map(_finished, fitting)), None)

    @property
    def _reuses(self) -> bool:
        """Whether earlier runs are continued or reused: with `--new-run` only those of earlier attempts of this job."""
        return not self.new_run or processes.has_earlier_attempts()

    def _client(self, adopted: str, *, tidies: bool = True) -> MlflowClient | None:
        """None where the store does not answer; raises `AsrLabError` when it does not have the adopted run.

        `tidies`: runs that were never begun are closed; once for a run and those beneath it.
        """
        if self.offline:
            return None
        try:
            with explain_store_errors("the tracking store cannot be used"):
                client = tracking_client()
                refuse_moved(tracking_uri())
                if tidies:
                    orphans.close_unstarted(client)
                if adopted:
                    client.get_run(adopted)
                return client
        except StoreUnavailableError as away:
            return self._go_on_without(away)

    @staticmethod
    def _go_on_without(away: StoreUnavailableError) -> None:
        report(f"warning: {away.what} ({shown_uri()}); the run is recorded in {ROOT}/ and shipped when it does")

    def _clock(self, client: MlflowClient | None) -> Clock | None:
        """The clock of the store, of which all machines date their runs; None without the store."""
        clock = clock_of(tracking_uri()) if client else None
        if clock and clock.offset_s and not self._warned_of_clock:
            self._warned_of_clock = True
            report(f"warning: this machine's clock is {clock} the tracking store's, by which the run is dated")
        return clock

    def _new(self, client: MlflowClient | None, header: Header) -> Spool:
        """The spool of a new run, called by the run's id on the store where the store answers."""
        spool = Spool.create(ROOT, new_id(), header)
        if not client:
            return spool
        try:
            with explain_store_errors("the tracking store cannot be used"):
                Delivery(spool, client).make_run(is_new=True)
        except StoreUnavailableError as away:
            self._go_on_without(away)
        except AsrLabError:
            spool.remove()
            raise
        else:
            spool.rename(spool.state.run_id)
        return spool


def _unmark(client: MlflowClient, run_id: str) -> None:
    """Remove the process tag of `announce`, which would come first in the UI: tags are shown in order of creation.

    It is set again with the other tags; until then the spool identifies the process.
    """
    with suppress(MlflowException):  # it was not announced, or the store is away
        client.delete_tag(run_id, PROCESS)


def _is_merged(run: Run) -> bool:
    """Return whether the run merged its adapters into the saved weights; older runs have only the param."""
    return MERGED in run.data.tags or run.data.params.get("model.merged") == "True"


def _finished(run: Run) -> FinishedRun | None:
    models = run.outputs.model_outputs if run.outputs else []
    uri = f"models:/{models[-1].model_id}" if models else ""
    table = partial(read_table, run)
    return FinishedRun(run.info.run_id, str(run.info.run_name), uri, dict(run.data.metrics), table) if uri else None


def _header(spec: RunSpec, clock: Clock | None, *, adopted: bool = False) -> Header:
    tags = {  # in the order in which the MLflow UI shows them: what people read, then what programs read
        **({} if adopted else provenance.origin()),  # MLflow wrote the project and its entry point
        colors.TAG: colors.run_color(spec.family, spec.signature),
        **({MLFLOW_PARENT_RUN_ID: spec.parent} if spec.parent else {}),
        FAMILY: spec.family,
        KIND: spec.kind,
        MODEL_TYPE: spec.model_type,
        **spec.tags,
        COMMAND: provenance.command(),
        **{f"asr_lab.{key}": value for key, value in provenance.own_code().items()},
        VERSIONS: provenance.versions(),
        HARDWARE: provenance.hardware(),
        THREADS: provenance.threads(),
        WORLD_SIZE: str(rank_and_world_size()[1]),
        SIGNATURE: spec.signature,
        PROCESS: processes.process_mark(),
    }
    return Header(
        uri=tracking_uri(),
        family=spec.family,
        kind=spec.kind,
        signature=spec.signature,
        name=spec.name,
        started_ms=clock.now_ms() if clock else now_ms(),
        tags=tags,
        process=processes.process_mark(),
    )


def _orphan(client: MlflowClient, spec: RunSpec, header: Header, in_spool: Spool | None, *, own: bool) -> Spool | None:
    """Return the run to continue: the one pending here unless it was deleted meanwhile, else one of the store."""
    if in_spool and (not in_spool.state.run_id or orphans.is_active(client, in_spool.state.run_id)):
        return in_spool
    if in_spool:
        in_spool.release()
    run_id = orphans.find_on_store(client, spec, own=own)
    return Spool.create(ROOT, run_id, header, run_id=run_id) if run_id else None


def _hand_over(orphan: Spool, adopted: Spool) -> None:
    """Continue the adopted run where the orphan was cut off; close the orphan."""
    orphans.move_checkpoints(orphan.id, adopted.id)
    orphan.seal_console()
    orphan.append("tags", values={CONTINUED_BY: adopted.id})
    orphan.append("finish", status="KILLED")
    orphan.release()
    adopted.append("tags", values={RESUMED_FROM: orphan.id})
