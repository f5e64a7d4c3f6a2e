"""Hard deletion of exactly these runs: their rows, files, logged models, and local folders; nothing else.

`mlflow gc` is not used: with run ids it also erases every other softly deleted experiment and model of the store. The
tracking API cannot delete rows; they are erased in the database itself, which a store other than a server's is anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient

from asr_lab.errors import AsrLabError
from asr_lab.tracking import artifacts
from asr_lab.tracking.cleanup.database_rows import rows_of
from asr_lab.tracking.run_index import Record, Registrations, models_of, read_registrations

CHECKPOINTS, SPOOL = Path("checkpoints"), Path("spool")
"""Folders of this working folder in which a run has one of its own."""


class Eraser:
    """Erases runs. Every step can be repeated, and a run's row goes last: what was cut off can be finished."""

    def __init__(self, client: MlflowClient, backend_store_uri: str = "", *, even_registered: bool = False) -> None:
        self.client = client
        self.rows = rows_of(backend_store_uri)
        self.held = Registrations() if even_registered else read_registrations(client)

    def check(self, runs: Iterable[Record]) -> None:
        """Raise `AsrLabError` when the database does not know one of the runs: before anything of them is touched."""
        with artifacts.explain_artifact_errors("the backend store cannot be read"):
            unknown = next((run for run in runs if self.rows and not self.rows.has(run.run_id)), None)
        if unknown:
            raise AsrLabError(
                f"the backend store does not know run {unknown.run_id}",
                hint="--backend-store-uri is the database of the very server that MLFLOW_TRACKING_URI names",
            )

    def erase(self, run: Record) -> None:
        """Erase a run; raises `AsrLabError` when something of it is registered, or cannot be deleted."""
        self.check([run])
        models = self._models(run)
        if name := self.held.of(run.run_id, *models):
            raise AsrLabError(f"{run.name} is registered as {name}: not deleted")
        if self.rows and not run.deleted:  # what is cut off from here on is out of sight until it is finished
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
        """Logged model -> where its files lie; a server does not tell of models that are softly deleted."""
        with artifacts.explain_artifact_errors(f"the models of {run.name} cannot be found"):
            if self.rows:
                return self.rows.models_of(run.run_id)
            return model_locations(self.client, run)


def model_locations(client: MlflowClient, run: Record) -> dict[str, str]:
    """Logged model -> where its files lie, of the models that a run logged."""
    return {model.model_id: model.artifact_location for model in models_of(client, run.experiment_id, run.run_id)}


def local_folders(run_id: str) -> list[Path]:
    """The folders of a run in this working folder that are there; a spool may have an id of its own."""
    spools = [state.parent for state in SPOOL.glob("*/state.json") if run_id in state.read_text(errors="replace")]
    own = [folder / run_id for folder in (CHECKPOINTS, SPOOL) if (folder / run_id).is_dir()]
    return list(dict.fromkeys([*own, *spools]))


def erase_local(run_id: str) -> None:
    """Delete a run's checkpoints and spool in this working folder."""
    for folder in local_folders(run_id):
        artifacts.remove(folder)
