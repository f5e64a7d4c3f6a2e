"""The MLflow recorder: write a run to its spool, and ship it in the background."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE

from asr_lab.errors import AsrLabError, reason
from asr_lab.families import deciding
from asr_lab.interfaces.tracking import Dataset, RegisteredModel, RunSpec, Status, status_of
from asr_lab.metrics.catalog import SYSTEM
from asr_lab.reports.headline import headline
from asr_lab.tracking import system_metrics
from asr_lab.tracking.models import pyfunc_package
from asr_lab.tracking.notifications import report, run_ended
from asr_lab.tracking.orphans import CHECKPOINTS
from asr_lab.tracking.sigterm import end_on_sigterm
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.spool import Spool, SpoolError
from asr_lab.tracking.spool.upload_thread import Shipper
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import explain_store_errors, shown_uri
from asr_lab.tracking.system_metrics import SystemMetrics
from asr_lab.tracking.tags import DATA, ERROR

MOST_SHOWN_ROWS = 1000
"""Of a table in the UI, which loads it whole."""
_FLUSH_MODEL_S = 600.0  # an upload; ends at once if the store does not answer
_FLUSH_END_S = 10.0


class MlflowRecorder:
    """Record one run: data are in the spool when a call returns, and on the store soon after."""

    def __init__(
        self, spool: Spool, spec: RunSpec, *, resumed: bool, offline: bool, leftovers: threading.Thread | None
    ) -> None:
        self.spool, self.spec, self.resumed, self._leftovers = spool, spec, resumed, leftovers
        self.checkpoints = CHECKPOINTS / spool.id
        self._models: list[str] = []
        self._latest: dict[str, tuple[float, int, int]] = {}
        self._datasets: dict[str, tuple[str, str]] = {}
        self._note = self._described = ""
        self._shown_tables: list[dict[str, str]] = []
        spool.append("begin", name=spec.name)
        self.tags(dict(spool.header.tags))
        self.params(spec.params)
        self.text(spec.config_yaml, "config.yaml")
        self._shipper = None if offline else Shipper(spool)
        self._system: SystemMetrics | None = None

    @property
    def run_id(self) -> str:
        """The run's id on the store; before it is there, the id of its spool."""
        return self.spool.state.run_id or self.spool.id

    @property
    def name(self) -> str:
        return f"{self.spec.name}-{self.run_id[:8]}"

    @property
    def minimal(self) -> bool:
        return self.spec.watcher is not None

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; existing ones are not changed (MLflow refuses)."""
        self.spool.append("params", values={key: _text(value) for key, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        points = {name: float(value) for name, value in values.items()}
        at_ms = self.spool.append("metrics", step=step, values=points)
        self._latest |= {name: (value, at_ms, step) for name, value in points.items()}
        if self.spec.watcher:
            self.spec.watcher.on_metrics(points, step)

    def last_steps(self) -> dict[str, int]:
        """Return the last step of each metric of a resumed run, from the spool and, if it answers, from the store."""
        if not self.resumed:
            return {}
        steps = self.spool.last_steps()
        if self._shipper and self.spool.state.run_id:
            with suppress(AsrLabError), explain_store_errors("the run cannot be read"):
                points = tracking_client().get_run(self.spool.state.run_id).data._metric_objs
                steps |= {point.key: max(point.step, steps.get(point.key, point.step)) for point in points}
        return steps

    def tags(self, values: Mapping[str, str]) -> None:
        self.spool.append("tags", values={key: str(value) for key, value in values.items()})

    def note(self, content: str) -> None:
        """Set the description that the MLflow UI shows on top of the run, below its result in one line."""
        self._note = content
        self._describe()

    def _describe(self) -> None:
        result = headline(self.spec.family, {name: value for name, (value, *_) in self._latest.items()})
        description = "\n\n".join(filter(None, (result, self._note)))
        if description != self._described:
            self._described = description
            self.tags({MLFLOW_RUN_NOTE: description})

    def dataset(self, dataset: Dataset) -> None:
        """Log a dataset: name, digest, source, size."""
        profile = {"utterances": dataset.num_utterances, "hours": round(dataset.hours, 4)}
        self.spool.append(
            "dataset",
            name=dataset.name,
            digest=dataset.digest,
            split=dataset.split,
            source=json.dumps({"uri": dataset.source}),
            profile=json.dumps(profile),
        )
        self._datasets[dataset.split] = (dataset.name, dataset.digest)
        self.tags({DATA + dataset.split: dataset.digest})

    def table(self, rows: pd.DataFrame, path: str, *, shown: bool = False) -> None:
        with self.spool.new_files() as written:
            rows.to_parquet(written / Path(path).name, index=False)
        self._artifact(written, path)
        if shown:
            self._show(rows, f"tables/{Path(path).stem}.json")

    def _show(self, rows: pd.DataFrame, path: str) -> None:
        """Log the first utterances as `mlflow.log_table` does: the UI compares such tables of runs, row by row."""
        utterances = rows["id"].astype(str) + ": " + rows["reference"]
        first = {"utterance": utterances, "hypothesis": rows["hypothesis"]}  # what the UI groups by, and compares
        shown = pd.DataFrame(first).join(rows.drop(columns="hypothesis"))[:MOST_SHOWN_ROWS]
        self.text(shown.to_json(orient="split", index=False), path)
        self._shown_tables.append({"path": path, "type": "table"})
        self.tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps(self._shown_tables)})

    def text(self, content: str, path: str) -> None:
        with self.spool.new_files() as written:
            (written / Path(path).name).write_text(content, encoding="utf-8")
        self._artifact(written, path)

    def file(self, local: Path, folder: str = "") -> None:
        with self.spool.new_files() as written:
            (shutil.copytree if local.is_dir() else shutil.copy)(local, written / local.name)
        self._artifact(written, str(Path(folder) / local.name))

    def figure(self, figure: Any, path: str) -> None:
        with self.spool.new_files() as written:
            figure.savefig(written / Path(path).name)
        self._artifact(written, path)

    def _artifact(self, written: Path, path: str) -> None:
        folder = str(Path(path).parent)
        file = f"{Spool.path_in_spool(written)}/{Path(path).name}"
        self.spool.append("artifact", file=file, to="" if folder == "." else folder)

    def model(self, model: RegisteredModel, *, register: bool) -> str:
        """Log a model, register it as a version of `model.name` if `register`, and return its URI.

        Without the store, return its folder in the spool; `asr-lab sync` registers it. Return "" if a watcher
        rejects it.
        """
        if self.spec.watcher and not self.spec.watcher.wants_model():
            return ""
        with self.spool.new_files() as written:
            content = pyfunc_package.package(model, written / "model")
        file = f"{Spool.path_in_spool(written)}/model"
        self.spool.append(
            "model",
            file=file,
            name=model.name,
            content=content,
            register=register and self.spec.registers,
            tags=dict(model.tags),
            description=model.description,
            metrics=self._latest,
            datasets=self._datasets,
        )
        self.flush(_FLUSH_MODEL_S)
        self._models.append(file)
        return self.spool.state.models.get(file) or str(self.spool.folder / file)

    def flush(self, patience_s: float = _FLUSH_END_S) -> bool:
        """Ship everything now; return whether it is on the store."""
        self.spool.journal.sync()
        return self._shipper is not None and self._shipper.flush(patience_s)

    def finish(self, status: Status) -> None:
        try:
            if self._system:
                self._system.stop()
            self._describe()
            self.spool.append("finish", status=status)
            self._part()
        finally:
            if not self.spec.parent:
                run_ended(self._facts(status))

    def _part(self) -> None:
        """Ship what is possible within seconds, release the spool, and report what is left."""
        self.flush(_FLUSH_END_S)
        trouble = self._shipper.trouble if self._shipper else None
        if self._shipper:
            self._shipper.stop()
        else:
            self.spool.release()
        if self._leftovers and not self.spec.parent:
            self._leftovers.join(_FLUSH_END_S)
        reported = self.minimal and not self._shipper  # offline trials: the run of the sweep reports for all
        if self.spool.folder.is_dir() and not reported:  # else all is shipped
            why = trouble.what if trouble else sync.refusals(self.spool)
            why = f" ({why})" if why else ""
            model = ", a model among them," if set(self._models) - set(self.spool.state.models) else ""
            what = f"{self.spool.waiting()} events{model} wait in {self.spool.folder}{why}"
            report(f"{self.name}: {what}; asr-lab sync ships them")

    def _facts(self, status: Status) -> dict[str, Any]:
        metric = deciding(self.spec.family, self._latest) or deciding(self.spec.family)
        point = self._latest.get(metric)
        return {
            "name": self.name,
            "id": self.run_id,
            "family": self.spec.family,
            "status": status,
            "metric": metric,
            "value": point[0] if point else None,
            "uri": shown_uri(),
        }

    def __enter__(self) -> Self:
        self._undo = end_on_sigterm()
        if not self.minimal and system_metrics.is_wanted():
            first = max((step + 1 for name, step in self.last_steps().items() if name.startswith(SYSTEM)), default=0)
            self._system = SystemMetrics(self._record_system, first)
        return self

    def _record_system(self, values: Mapping[str, float], step: int) -> None:
        self.spool.append("metrics", step=step, values=dict(values))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close(kind, error)
        finally:
            self._undo()

    def _close(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if error is None:
            self.finish("FINISHED")
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            return
        try:
            why = reason(error)[:500]
            self.tags({ERROR: why})
            self._note = "\n\n".join(filter(None, (f"{status_of(kind)}: {why}", self._note)))
            self.finish(status_of(kind))
        except SpoolError as full:  # must not hide the error of the run
            if not isinstance(error, SpoolError):
                report(f"{self.name} could not be closed: {full.what}")


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
