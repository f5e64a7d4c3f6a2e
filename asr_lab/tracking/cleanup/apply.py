"""Carry out a cleanup plan; pin runs and add notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from asr_lab.errors import AsrLabError
from asr_lab.system.times import utc_now
from asr_lab.tracking import artifacts
from asr_lab.tracking.cleanup.erase import CHECKPOINTS, Eraser, local_folders, model_locations
from asr_lab.tracking.cleanup.plan import Action, CleanupPlan, PlannedRun
from asr_lab.tracking.cleanup.protection import is_stale, own_protection
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.run_index import Record, Registrations, read_registrations, record_of
from asr_lab.tracking.store import tracking_uri
from asr_lab.tracking.tags import CLEANUP, KEEP, NOTE, PROCESS, PURGE_BEGUN


def measure(
    client: MlflowClient, runs: Sequence[Record], action: Action, done: Callable[[], object]
) -> list[int | None]:
    """Return the bytes that the action would free for each run; None if they cannot be measured."""
    return artifacts.sizes([_artifact_uris(client, run, action) for run in runs], done)


def _artifact_uris(client: MlflowClient, run: Record, action: Action) -> list[str]:
    """Return the URIs of the files that would be deleted."""
    if action == "checkpoints":
        return [f"{run.artifact_uri}/{CHECKPOINTS}", str(CHECKPOINTS / run.run_id)]
    models = model_locations(client, run) if run.models else {}
    return [run.artifact_uri, *models.values(), *map(str, local_folders(run.run_id))]


def apply(
    client: MlflowClient, planned: CleanupPlan, *, backend_store_uri: str = "", done: Callable[[], object]
) -> list[PlannedRun]:
    """Carry out a plan; return the runs that were skipped because they changed since.

    Raises `AsrLabError` at the first run that cannot be deleted; repeating the call continues from there.
    """
    refuse_moved(tracking_uri())
    eraser = Eraser(client, backend_store_uri) if planned.action == "purge" else None
    held, left = read_registrations(client), []
    for line in planned.going:
        if why := _changed(client, line.record, held):
            left.append(PlannedRun(line.record, False, why))
        elif planned.action == "checkpoints":
            delete_checkpoints(line.record)
        else:
            if eraser:
                eraser.check([line.record])
            mark(client, line.record, PURGE_BEGUN if eraser else "deleted", line.why)
            if eraser:
                eraser.erase(line.record)
            elif not line.record.deleted:
                with artifacts.explain_artifact_errors(f"the run {line.record.name} cannot be deleted"):
                    client.delete_run(line.record.run_id)
        done()
    return left


def _changed(client: MlflowClient, run: Record, held: Registrations) -> str:
    """Return why a run must stay after all; "" if nothing changed since the plan."""
    with artifacts.explain_artifact_errors(f"the run {run.name} cannot be read"):
        try:
            now = record_of(client.get_run(run.run_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return "is gone already"
    if now.running and (not run.running or now.tags.get(PROCESS) != run.tags.get(PROCESS)):
        return "runs again"
    if now.deleted and not run.deleted:
        return "is deleted already"
    return own_protection(now, held, stale_too=True)


def mark(client: MlflowClient, run: Record, how: str, why: str) -> None:
    """Tag a run with the reason before it is deleted (MLflow refuses later tags); close stale runs."""
    if run.deleted:
        return
    with artifacts.explain_artifact_errors(f"the run {run.name} cannot be marked"):
        client.set_tag(run.run_id, CLEANUP, f"{how} {utc_now()}: {why}")
        if is_stale(run):
            client.set_terminated(run.run_id, "KILLED")


def delete_checkpoints(run: Record) -> None:
    """Delete only a run's checkpoints, in this working folder and among its artifacts."""
    artifacts.delete(run.artifact_uri, run.run_id, str(CHECKPOINTS))
    artifacts.remove(CHECKPOINTS / run.run_id)


def keep(client: MlflowClient, runs: Sequence[Run], *, undo: bool = False) -> None:
    """Pin runs, so that no cleanup touches them, or unpin them."""
    with artifacts.explain_artifact_errors("the runs cannot be marked"):
        for run in runs:
            if not undo:
                client.set_tag(run.info.run_id, KEEP, "true")
            elif KEEP in run.data.tags:
                client.delete_tag(run.info.run_id, KEEP)


def note(client: MlflowClient, run: Run, text: str, *, replace: bool = False) -> str:
    """Append a paragraph to a run's description, or replace it; return the description."""
    before = "" if replace else run.data.tags.get(NOTE, "")
    content = f"{before}\n\n{text}" if before else text
    if len(content) > MAX_TAG_VAL_LENGTH:
        raise AsrLabError(
            f"the description would have {len(content):,} characters",
            where=run.info.run_name,
            allowed=f"{MAX_TAG_VAL_LENGTH:,}, which MLflow keeps; --replace replaces the {len(before):,} there are",
        )
    with artifacts.explain_artifact_errors("the note cannot be written"):
        client.set_tag(run.info.run_id, NOTE, content)
    return content
