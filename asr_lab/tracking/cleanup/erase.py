"""Permanent deletion of runs: rows, files, logged models, and local folders.

`mlflow gc` is not used: even with run ids it erases all soft-deleted experiments and models of the store. The tracking
API cannot delete rows; they are erased in the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient

from asr_lab.errors import AsrLabError
from asr_lab.tracking import artifacts
from asr_lab.tracking.cleanup.database_rows import rows_of
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.run_index import Record, Registrations, models_of, read_registrations
from asr_lab.tracking.store import tracking_uri

CHECKPOINTS, SPOOL = Path("checkpoints"), Path("spool")
"""Folders in the working folder with one folder per run."""


class Eraser:
    """Erase runs. Steps are repeatable and a run's row is deleted last, so that an interrupted call can be repeated."""

    def __init__(self, client: MlflowClient, backend_store_uri: str = "", *, even_registered: bool = False) -> None:
        refuse_moved(tracking_uri(), backend_store_uri)
        self.client = client
        self.rows = rows_of(backend_store_uri)
        self.held = Registrations() if even_registered else read_registrations(client)

    def check(self, runs: Iterable[Record]) -> None:
        """Raise `AsrLabError` if the database lacks one of the runs, before anything is deleted."""
        with artifacts.explain_artifact_errors("the backend store cannot be read"):
            unknown = next((run for run in runs if self.rows and not self.rows.has(run.run_id)), None)
        if unknown:
            raise AsrLabError(
                f"the backend store does not know run {unknown.run_id}",
                hint="--backend-store-uri must be the database of the server that MLFLOW_TRACKING_URI names",
            )

    def erase(self, run: Record) -> None:
        """Erase a run; raises `AsrLabError` if it is registered or cannot be deleted."""
        self.check([run])
        models = self._models(run)
        if name := self.held.of(run.run_id, *models):
            raise AsrLabError(f"{run.name} is registered as {name}: not deleted")
        if self.rows and not run.deleted:  # hidden from here on, even if interrupted
            with artifacts.explain_artifact_errors(f"the run {run.name} cannot be deleted"):
                self.client.delete_run(run.run_id)
        for model_id, location in models.items():
            artifacts.delete(location, model_id)
            with artifacts.explain_artifact_errors(f"the model {model_id} cannot be deleted"):
                if self.rows:
                    self.rows.erase_model(model_id)
                else:
                    self.client.delete_logged_model(model_id)
        artifacts.delete(run.artifact_uri, run.run_id)
        erase_local(run.run_id)
        with artifacts.explain_artifact_errors(f"the run {run.name} cannot be deleted"):
            if self.rows:
                self.rows.erase_run(run.run_id)
            elif not run.deleted:
                self.client.delete_run(run.run_id)

    def _models(self, run: Record) -> dict[str, str]:
        """Return logged model -> location of its files; a server omits soft-deleted models."""
        with artifacts.explain_artifact_errors(f"the models of {run.name} cannot be found"):
            if self.rows:
                return self.rows.models_of(run.run_id)
            return model_locations(self.client, run)


def model_locations(client: MlflowClient, run: Record) -> dict[str, str]:
    """Return logged model -> location of its files, for the models of a run."""
    return {model.model_id: model.artifact_location for model in models_of(client, run.experiment_id, run.run_id)}


def local_folders(run_id: str) -> list[Path]:
    """Return the existing folders of a run in the working folder; a spool may have its own id."""
    spools = [state.parent for state in SPOOL.glob("*/state.json") if run_id in state.read_text(errors="replace")]
    own = [folder / run_id for folder in (CHECKPOINTS, SPOOL) if (folder / run_id).is_dir()]
    return list(dict.fromkeys([*own, *spools]))


def erase_local(run_id: str) -> None:
    """Delete a run's checkpoints and spool in the working folder."""
    for folder in local_folders(run_id):
        artifacts.remove(folder)
