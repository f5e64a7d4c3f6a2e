"""The Recorder on MLflow: one run, by the contract of its tags, params, metrics and artifacts.

Under `mlflow run` the run that MLflow made (`MLFLOW_RUN_ID`) is adopted, in whatever experiment it lies. A run of the
same signature that is still RUNNING although its process is gone was cut off, and is continued.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from asr_lab.tracking import provenance, registry
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import experiment_id, reaching
from asr_lab.training.recorder import Dataset, RegisteredModel, RunSpec, Status, status_of

CHECKPOINTS = Path("checkpoints")
_PARAMS_AT_ONCE = 100

_log = logging.getLogger(__name__)


class MlflowTracker:
    """Starts runs on the tracking store."""

    def __init__(self, *, new_run: bool = False) -> None:
        self.new_run = new_run

    def announce(self, family: str) -> None:
        """Mark the run that MLflow handed to this process as ours, before anything long begins.

        Killed before it starts in earnest, it can be told by its dead process and closed.
        """
        run_id = os.environ.get("MLFLOW_RUN_ID", "")
        if run_id:
            with reaching("the run that MLflow made cannot be used"):
                tags = {"asr_lab.family": family, "asr_lab.process": provenance.process_mark()}
                tracking_client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def start(self, spec: RunSpec, *, own: bool = False) -> MlflowRecorder:
        """A run for `spec`: the one MLflow handed to this process (never when `own`), one cut off, or a new one."""
        with reaching("the tracking store cannot be used"):
            client = tracking_client()
            adopted = "" if own else os.environ.pop("MLFLOW_RUN_ID", "")
            _close_unstarted(client)
            orphan = "" if self.new_run or not spec.resumable else _orphan(client, spec)
            run_id = adopted or orphan or _create(client, spec)
            if adopted and orphan:
                _hand_over(client, orphan, adopted)
            elif orphan:
                client.update_run(orphan, status="RUNNING")
            return MlflowRecorder(client, run_id, spec, resumed=bool(orphan))


def _create(client: MlflowClient, spec: RunSpec) -> str:
    tags = {"asr_lab.family": spec.family, "asr_lab.process": provenance.process_mark()}
    run = client.create_run(experiment_id(client, spec.family), run_name=spec.name, tags=tags)
    return str(run.info.run_id)


def _search(client: MlflowClient, condition: str) -> list[Run]:
    experiments = [found.experiment_id for found in client.search_experiments()]
    return list(client.search_runs(experiments, condition, order_by=["attributes.start_time DESC"]))


def _orphan(client: MlflowClient, spec: RunSpec) -> str:
    """The newest run of this signature that was cut off, or "".

    It is RUNNING although its process is gone; or it ended otherwise than FINISHED and its checkpoints are here.
    """
    condition = (
        f"attributes.status != 'FINISHED' and tags.`asr_lab.signature` = '{spec.signature}' "
        f"and tags.`asr_lab.kind` = '{spec.kind}'"
    )
    for run in _search(client, condition):
        running = run.info.status == "RUNNING"
        gone = provenance.is_gone(run.data.tags.get("asr_lab.process", ""))
        if gone if running else any((CHECKPOINTS / run.info.run_id).glob("checkpoint-*")):
            return str(run.info.run_id)
    return ""


def _close_unstarted(client: MlflowClient) -> None:
    """Close runs whose process died before they began in earnest: nothing could ever continue them."""
    condition = (
        "attributes.status = 'RUNNING' and tags.`asr_lab.process` IS NOT NULL and tags.`asr_lab.signature` IS NULL"
    )
    for run in _search(client, condition):
        if provenance.is_gone(run.data.tags["asr_lab.process"]):
            client.set_terminated(run.info.run_id, "KILLED")


def _hand_over(client: MlflowClient, orphan: str, adopted: str) -> None:
    """The adopted run goes on where the orphan was cut off; the orphan is closed."""
    if (CHECKPOINTS / orphan).is_dir():
        shutil.rmtree(CHECKPOINTS / adopted, ignore_errors=True)
        (CHECKPOINTS / orphan).rename(CHECKPOINTS / adopted)
    client.set_tag(adopted, "asr_lab.resumed_from", orphan)
    client.set_tag(orphan, "asr_lab.continued_by", adopted)
    client.set_terminated(orphan, "KILLED")


class MlflowRecorder:
    """One run on the tracking store."""

    def __init__(self, client: MlflowClient, run_id: str, spec: RunSpec, *, resumed: bool) -> None:
        self.client, self.run_id, self.spec, self.resumed = client, run_id, spec, resumed
        self.name = f"{spec.name}-{run_id[:8]}"
        self.checkpoints = CHECKPOINTS / run_id
        client.update_run(run_id, name=self.name)
        own = {
            "asr_lab.family": spec.family,
            "asr_lab.kind": spec.kind,
            "asr_lab.model_type": spec.model_type,
            "asr_lab.signature": spec.signature,
            "asr_lab.process": provenance.process_mark(),
            "asr_lab.command": provenance.command(),
            "asr_lab.versions": provenance.versions(),
            "asr_lab.hardware": provenance.hardware(),
            **{f"asr_lab.{key}": value for key, value in provenance.git_state().items()},
            **({MLFLOW_PARENT_RUN_ID: spec.parent} if spec.parent else {}),
        }
        self.tags(own | dict(spec.tags))
        self.params(spec.params)
        self.text(spec.config_yaml, "config.yaml")

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters the run does not have yet (MLflow refuses to change one)."""
        known = self.client.get_run(self.run_id).data.params
        new = [Param(key, _text(value)) for key, value in values.items() if key not in known]
        for start in range(0, len(new), _PARAMS_AT_ONCE):
            self.client.log_batch(self.run_id, params=new[start : start + _PARAMS_AT_ONCE])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id, metrics=[Metric(name, float(value), now, step) for name, value in values.items()]
        )

    def tags(self, values: Mapping[str, str]) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in values.items()])

    def note(self, content: str) -> None:
        """The description that the MLflow UI shows on top of the run."""
        self.tags({MLFLOW_RUN_NOTE: content})

    def dataset(self, dataset: Dataset) -> None:
        """One of the run's datasets, as MLflow shows them: name, digest, source, size."""
        entity = DatasetEntity(
            name=dataset.name,
            digest=dataset.digest,
            source_type="local",
            source=json.dumps({"uri": dataset.source}),
            profile=json.dumps({"utterances": dataset.num_utterances, "hours": round(dataset.hours, 4)}),
        )
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", dataset.split)])])
        self.tags({f"asr_lab.data.{dataset.split}": dataset.digest})

    def table(self, rows: pd.DataFrame, path: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / Path(path).name
            rows.to_parquet(local, index=False)
            self.file(local, str(Path(path).parent))

    def text(self, content: str, path: str) -> None:
        self.client.log_text(self.run_id, content, path)

    def file(self, local: Path, folder: str = "") -> None:
        folder = "" if folder == "." else folder
        if local.is_dir():
            self.client.log_artifacts(self.run_id, str(local), f"{folder}/{local.name}".lstrip("/"))
        else:
            self.client.log_artifact(self.run_id, str(local), folder or None)

    def figure(self, figure: Any, path: str) -> None:
        self.client.log_figure(self.run_id, figure, path)

    def model(self, model: RegisteredModel, *, register: bool) -> str:
        return registry.keep(self.client, self.run_id, model, register=register)

    def finish(self, status: Status) -> None:
        self.client.set_terminated(self.run_id, status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish("FINISHED")
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            return
        try:
            self.tags({"asr_lab.error": str(error)[:500] or type(error).__name__})
            self.finish(status_of(kind))
        except MlflowException as unreachable:  # must not hide what went wrong in the run
            _log.error("run %s could not be closed: %s", self.run_id[:8], unreachable.message)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
