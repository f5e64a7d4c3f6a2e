"""Permanent deletion of rows in MLflow's tracking database, which its API does not offer."""

from __future__ import annotations

from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlInput,
    SqlInputTag,
    SqlLatestMetric,
    SqlLoggedModel,
    SqlLoggedModelMetric,
    SqlMetric,
    SqlRun,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import or_
from sqlalchemy.orm import Session

from asr_lab.errors import AsrLabError
from asr_lab.tracking.connection import check_connection, tracking_uri, without_password
from asr_lab.tracking.schema import State


class Rows:
    """Delete rows of runs and logged models with dependent rows; missing rows are no error."""

    def __init__(self, store: SqlAlchemyStore) -> None:
        self.store = store

    def has(self, run_id: str) -> bool:
        """Return whether the database has the run, deleted or not."""
        with self.store.ManagedSessionMaker() as session:
            return session.get(SqlRun, run_id) is not None

    def models_of(self, run_id: str) -> dict[str, str]:
        """Return logged model -> location of its files, including soft-deleted models."""
        with self.store.ManagedSessionMaker() as session:
            models = session.query(SqlLoggedModel).filter(SqlLoggedModel.source_run_id == run_id)
            return {model.model_id: model.artifact_location for model in models}

    def erase_model(self, model_id: str) -> None:
        """Delete a logged model with its params, tags, metrics, and links to runs."""
        with self.store.ManagedSessionMaker(read_only=False) as session:
            _erase_edges(session, model_id)
            if model := session.get(SqlLoggedModel, model_id):
                session.delete(model)

    def erase_run(self, run_id: str) -> None:
        """Delete a run with its params, tags, metrics and inputs, and datasets that no other run uses."""
        with self.store.ManagedSessionMaker(read_only=False) as session:
            datasets = _erase_edges(session, run_id)
            _erase_unused(session, datasets)
        if self.has(run_id):
            self.store._hard_delete_run(run_id)  # what `mlflow gc` calls for each run

    def erase_metrics(self, run_id: str, names: list[str]) -> None:
        """Delete all points of metrics of a run, and their copies on its logged models."""
        with self.store.ManagedSessionMaker(read_only=False) as session:
            for table in (SqlMetric, SqlLatestMetric):
                rows = session.query(table).filter(table.run_uuid == run_id, table.key.in_(names))
                rows.delete(synchronize_session=False)
            copies = session.query(SqlLoggedModelMetric).filter(
                SqlLoggedModelMetric.run_id == run_id, SqlLoggedModelMetric.metric_name.in_(names)
            )
            copies.delete(synchronize_session=False)

    def overwrite_deleted(self) -> None:
        """Vacuum an SQLite database, so that its file holds no deleted rows."""
        if self.store.engine.dialect.name == "sqlite":
            with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM")


def _erase_edges(session: Session, id: str) -> set[str]:
    """Delete the inputs and outputs of a run or model; return the ids of the datasets among them."""
    edges = session.query(SqlInput).filter(or_(SqlInput.source_id == id, SqlInput.destination_id == id)).all()
    uuids = [edge.input_uuid for edge in edges]
    session.query(SqlInputTag).filter(SqlInputTag.input_uuid.in_(uuids)).delete(synchronize_session=False)
    session.query(SqlInput).filter(SqlInput.input_uuid.in_(uuids)).delete(synchronize_session=False)
    return {edge.source_id for edge in edges if edge.source_type == "DATASET"}


def _erase_unused(session: Session, datasets: set[str]) -> None:
    inputs = session.query(SqlInput).filter(SqlInput.source_id.in_(datasets)).all()
    unused = datasets - {row.source_id for row in inputs}
    session.query(SqlDataset).filter(SqlDataset.dataset_uuid.in_(unused)).delete(synchronize_session=False)


def erases_rows(backend_store_uri: str = "") -> bool:
    """Return whether rows can be erased: not through a tracking server."""
    return urlsplit(backend_store_uri or tracking_uri()).scheme not in ("http", "https")


def rows_of(backend_store_uri: str = "") -> Rows | None:
    """Return the rows of the database, by default the store's own; None for a tracking server.

    Raises `AsrLabError` if there is no such database, or its schema is of another MLflow.
    """
    uri = backend_store_uri or tracking_uri()
    if not erases_rows(uri):
        return None
    if check_connection(uri) is not State.READY:
        raise AsrLabError("there is no such backend store", where=without_password(uri))
    try:
        return Rows(SqlAlchemyStore(uri, "mlruns"))
    except MlflowException as error:
        raise AsrLabError(
            f"the backend store cannot be used: {error.message.splitlines()[0]}", where=without_password(uri)
        ) from error
    except ImportError as error:
        raise AsrLabError(f"this needs the package {error.name}", hint=f"pip install {error.name}") from error
