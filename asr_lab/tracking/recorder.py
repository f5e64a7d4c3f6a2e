"""The MLflow recorder: write a run to its spool, and ship it in the background."""

from __future__ import annotations

import json
import shutil
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from asr_lab.config.identity import param_text
from asr_lab.errors import AsrLabError, reason
from asr_lab.families import deciding
from asr_lab.interfaces.tracking import Dataset, RegisteredModel, RunSpec, Status, status_of
from asr_lab.metrics.catalog import SYSTEM, figures, of_the_model
from asr_lab.reports.headline import headline
from asr_lab.system.console_log import ConsoleLog, listen
from asr_lab.system.stopping import handle, held
from asr_lab.tracking import code_state, system_metrics
from asr_lab.tracking.logged_points import LoggedPoints
from asr_lab.tracking.models import pyfunc_package
from asr_lab.tracking.notifications import report, run_ended
from asr_lab.tracking.orphans import CHECKPOINTS
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.shipper import Shipper
from asr_lab.tracking.spool.spool import Spool, SpoolError
from asr_lab.tracking.store import shown_uri
from asr_lab.tracking.system_metrics import SystemMetrics
from asr_lab.tracking.tags import CHANGES, DATA, ERROR
from asr_lab.units import counted

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
        spool.seal_console()  # of the process that is resumed
        self._datasets: dict[str, tuple[str, str]] = {}
        self._note = self._described = ""
        self._shown_tables: list[dict[str, str]] = []
        spool.append("begin", name=spec.name)
        self.tags(dict(spool.header.tags))
        self.params(spec.params)
        self.text(spec.config_yaml, "config.yaml")
        self._shipper = None if offline else Shipper(spool)
        self._console: ConsoleLog | None = None
        self._code = threading.Thread(target=self._record_code, daemon=True)
        if not spec.parent:
            if resumed:
                self.tags({CHANGES: ""})  # those of its start are of another commit
            self._code.start()
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
        texts = {key: self._kept(key, param_text(value), MAX_PARAM_VAL_LENGTH) for key, value in values.items()}
        self.spool.append("params", values=texts)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics; a point that the run has, also from before it was resumed, is not logged again."""
        points = {name: float(value) for name, value in values.items()}
        times = {name: self._logged_at(name, value, step) for name, value in points.items()}
        new = {name: value for name, value in points.items() if times[name] is None}
        at_ms = self.spool.append("metrics", step=step, values=new) if new else 0
        self._latest |= {name: (value, times[name] or at_ms, step) for name, value in points.items()}
        if self.spec.watcher:
            self.spec.watcher.on_metrics(points, step)

    def _logged_at(self, name: str, value: float, step: int) -> int | None:
        """Return when the run logged a point, in ms since 1970; None if it did not."""
        known, at_ms, last_step = self._latest.get(name, (None, 0, 0))
        if (known, last_step) == (value, step):
            return at_ms
        return self._logged.at_ms(name, value, step) if self._logged else None

    @cached_property
    def _logged(self) -> LoggedPoints | None:
        """What the run that is resumed has logged; None for a new run."""
        return LoggedPoints(self.spool, asks_store=self._shipper is not None) if self.resumed else None

    def last_steps(self) -> dict[str, int]:
        """Return the last step of each metric of a resumed run, from the spool and, if it answers, from the store."""
        return dict(self._logged.last_steps) if self._logged else {}

    def tags(self, values: Mapping[str, str]) -> None:
        texts = {key: self._kept(key, str(value), MAX_TAG_VAL_LENGTH) for key, value in values.items()}
        self.spool.append("tags", values=texts)

    def _kept(self, key: str, text: str, most: int) -> str:
        """Return what MLflow keeps of a text, and report a loss."""
        if len(text) > most:
            report(f"{self.name}: {key} has {len(text):,} characters, of which MLflow keeps {most:,}")
        return text[:most]

    def note(self, content: str) -> None:
        """Set the description that the MLflow UI shows on top of the run, below its result in one line."""
        self._note = content
        self._describe()

    def _describe(self) -> None:
        result = headline(self.spec.family, {name: value for name, (value, *_) in figures(self._latest).items()})
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
        self.spool.artifact(written, path)
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
        self.spool.artifact(written, path)

    def file(self, local: Path, folder: str = "") -> None:
        with self.spool.new_files() as written:
            (shutil.copytree if local.is_dir() else shutil.copy)(local, written / local.name)
        self.spool.artifact(written, str(Path(folder) / local.name))

    def figure(self, figure: Any, path: str) -> None:
        from asr_lab.reports.fonts import fitted

        with self.spool.new_files() as written:
            fitted(figure).savefig(written / Path(path).name)
        self.spool.artifact(written, path)

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
            metrics=of_the_model(self._latest),
            datasets=self._datasets,
        )
        self.flush(_FLUSH_MODEL_S)
        self._models.append(file)
        return self.spool.state.models.get(file) or str(self.spool.folder / file)

    def flush(self, patience_s: float = _FLUSH_END_S) -> bool:
        """Ship everything now; return whether it is on the store."""
        self.spool.journal.sync()
        return self._shipper is not None and self._shipper.flush(patience_s)

    def _record_code(self) -> None:
        """Log the installed packages, and what of the code was not committed."""
        with suppress(SpoolError):
            self.text(code_state.packages(), code_state.PACKAGES)
            if changes := code_state.own_patch():
                self.text(changes, code_state.PATCH)
                self.tags({CHANGES: code_state.digest(changes)})

    def _log_console(self) -> None:
        """Keep what is printed, from now on and before, with the run."""
        with suppress(OSError):
            log = listen()
            log.open(self.spool.console(), code_state.masked)
            self._console = log

    def _close_logs(self) -> None:
        if self._code.is_alive():
            self._code.join()
        if self._console:
            self._console.close()
        with suppress(SpoolError):  # no room: the run ends all the same
            self.spool.seal_console()

    def finish(self, status: Status) -> None:
        self._close_logs()
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
            waiting = self.spool.waiting()
            what = (
                f"{counted(waiting, 'event')}{model} {'waits' if waiting == 1 else 'wait'} in {self.spool.folder}{why}"
            )
            report(f"{self.name}: {what}; asr-lab sync ships them")

    def _facts(self, status: Status) -> dict[str, Any]:
        latest = figures(self._latest)
        metric = deciding(self.spec.family, latest) or deciding(self.spec.family)
        point = latest.get(metric)
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
        self._undo = handle()
        if not self.spec.parent:
            self._log_console()
        if not self.minimal and system_metrics.is_wanted():
            first = max((step + 1 for name, step in self.last_steps().items() if name.startswith(SYSTEM)), default=0)
            self._system = SystemMetrics(self._record_system, first)
        try:
            with held():  # raises what came since the run was begun
                return self
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def _record_system(self, values: Mapping[str, float], step: int) -> None:
        self.spool.append("metrics", step=step, values=dict(values))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with held():
                self._close(kind, error)
        finally:
            self._undo()

    def _close(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if error is None:
            self.finish("FINISHED")
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            return
        if self._console:
            is_known = isinstance(error, AsrLabError | KeyboardInterrupt | SystemExit)
            self._console.add(f"{reason(error)}\n" if is_known else "".join(traceback.format_exception(error)))
        try:
            why = reason(error)[:500]
            self.tags({ERROR: why})
            self._note = "\n\n".join(filter(None, (f"{status_of(kind)}: {why}", self._note)))
            self.finish(status_of(kind))
        except SpoolError as full:  # must not hide the error of the run
            if not isinstance(error, SpoolError):
                report(f"{self.name} could not be closed: {full.what}")
