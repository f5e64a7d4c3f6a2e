"""Training data of the runs behind a model: its own run, the base it started from, an adapter's run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from asr_lab.errors import AsrLabError
from asr_lab.families import makes_adapters
from asr_lab.interfaces.tags import ADAPTER_FILE, BASE, BASE_DIGEST, FAMILY, PHASE, SPEAKER
from asr_lab.interfaces.tracking import Lineage, TrainingData
from asr_lab.tracking.models.pyfunc_package import files_digest
from asr_lab.tracking.queries.filters import quoted
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import experiment_ids, explain_store_errors, has_tables, is_missing, search_runs
from asr_lab.tracking.tags import CONTENT, KIND, PARENT

_OF_RUN = re.compile(r"runs:/(\w+)/.+")
_LOGGED = re.compile(r"models:/(m-\w+)")
_VERSION = re.compile(r"models:/([^/@]+)/(\d+)")
_CONTEXT = "mlflow.data.context"


def trace(uri: str, adapter: str = "") -> Lineage:
    """Return the training data behind a model (a pinned URI or a folder) and an adapter (a URI or a file).

    A base is followed to its own base. What the store does not know is listed, and so is that it cannot be asked.
    """
    result = _Trace()
    try:
        if has_tables():
            with explain_store_errors("the runs behind the model cannot be read"):
                result.client = tracking_client()
        result.model(uri)
        if adapter:
            result.adapter(adapter)
    except AsrLabError as error:
        result.unknown.append(error.what)
    return Lineage(result.data, list(dict.fromkeys(result.unknown)))


class _Trace:
    """Collects training data from run to run."""

    def __init__(self) -> None:
        self.client: MlflowClient | None = None
        self.data: list[TrainingData] = []
        self.unknown: list[str] = []
        self._runs: set[str] = set()
        self._curricula: set[str] = set()
        """Parents of phases; the data of a later phase contain those of the earlier ones."""

    def model(self, uri: str) -> None:
        """Follow a model to its run, and to its base."""
        if not uri.startswith(("models:/", "runs:/")) and not Path(uri).is_absolute() and not Path(uri).is_dir():
            self.unknown.append(f"{uri} was trained elsewhere")
            return
        run = self._read(self._run_of(uri))
        if run is None:
            self.unknown.append(f"no run of the store made {uri}")
        else:
            self._follow(run)

    def adapter(self, adapter: str) -> None:
        """Follow an adapter to its run; its base is followed with the model."""
        is_uri = adapter.startswith(("models:/", "runs:/"))
        run = self._read(self._run_of(adapter)) if is_uri else self._run_of_adapter(Path(adapter))
        if run is None:
            self.unknown.append(f"no run of the store made the adapter {adapter}")
        else:
            self.data += self._data_of(run)

    def _follow(self, run: Run) -> None:
        if run.info.run_id in self._runs:
            return
        self._runs.add(run.info.run_id)
        if run.data.tags.get(KIND) == "curriculum" and (phases := self._phases(run)):
            self._follow(phases[-1])  # from the model of the phase before it
            return
        curriculum = run.data.tags.get(PARENT, "") if PHASE in run.data.tags else ""
        if not curriculum or curriculum not in self._curricula:
            known = self._data_of(run)
            self.data += known
            if not known:
                self.unknown.append(f"{run.info.run_name} names no training data")
        self._curricula |= {curriculum} - {""}
        if base := run.data.tags.get(BASE):
            self.model(base)

    def _phases(self, run: Run) -> list[Run]:
        assert self.client is not None
        condition = f"tags.`{PARENT}` = {quoted(run.info.run_id)}"
        children = search_runs(self.client, [run.info.experiment_id], condition, ViewType.ALL)
        return sorted((one for one in children if PHASE in one.data.tags), key=lambda one: one.data.tags[PHASE])

    def _data_of(self, run: Run) -> list[TrainingData]:
        how = self._how_used(run) if makes_adapters(run.data.tags.get(FAMILY, "")) else {}
        return [
            TrainingData(run=str(run.info.run_name), source=source, digest=digest, **how)
            for source, digest in _training_sets(run)
        ]

    def _how_used(self, run: Run) -> dict[str, Any]:
        """Return which utterances of its manifest the run of an adapter was trained on."""
        params, seed = run.data.params, int(run.data.params.get("run.seed", 0))
        how: dict[str, Any] = {"personal": True}
        if not params.get("data.test") and not params.get("data.cross_fit"):
            how["held_out"] = (float(params.get("data.test_share", 0.3)), seed)
        if number := int(params.get("data.learn_from", 0)):
            how["drawn"] = (number, seed)
        parent = self._read(run.data.tags.get(PARENT, ""))
        if field := parent.data.params.get("data.each", "") if parent else "":
            how["part"] = (field, run.data.tags.get(SPEAKER, ""))
        return how

    def _read(self, run_id: str) -> Run | None:
        if not run_id or self.client is None:
            return None
        with explain_store_errors("the runs behind the model cannot be read"):
            try:
                return self.client.get_run(run_id)
            except MlflowException as error:
                if is_missing(error):
                    return None
                raise

    def _run_of(self, uri: str) -> str:
        """Return the id of the run that made a model; "" if the store knows none."""
        if self.client is None:
            return ""
        with explain_store_errors("the runs behind the model cannot be read"):
            try:
                if of_run := _OF_RUN.fullmatch(uri):
                    return of_run[1]
                if logged := _LOGGED.fullmatch(uri):
                    return str(self.client.get_logged_model(logged[1]).source_run_id or "")
                if version := _VERSION.fullmatch(uri):
                    return str(self.client.get_model_version(version[1], version[2]).run_id or "")
            except MlflowException as error:
                if is_missing(error):
                    return ""
                raise
            return self._run_of_folder(Path(uri)) if Path(uri).is_dir() else ""

    def _run_of_folder(self, folder: Path) -> str:
        """Return the run of a model's folder: by MLflow's file, or by the digest of its files."""
        assert self.client is not None
        for package in (folder, *folder.resolve().parents[1:2]):
            if (package / "MLmodel").is_file():
                content = yaml.safe_load((package / "MLmodel").read_text(encoding="utf-8"))
                if run_id := (content or {}).get("run_id"):
                    return str(run_id)
        condition = f"tags.`{CONTENT}` = '{files_digest(folder, 'model/')}'"
        models = self.client.search_logged_models(experiment_ids(self.client), condition)
        return str(next((one.source_run_id for one in models if one.source_run_id), ""))

    def _run_of_adapter(self, file: Path) -> Run | None:
        """Return the run that wrote an adapter's file: by its digest, or by what older runs logged of it."""
        from asr_lab.data.manifest import file_digest
        from asr_lab.models.adapter import AdapterManager

        if self.client is None:
            return None
        info, digest = AdapterManager(file.parent).get_adapter_info(str(file)), file_digest(file)
        condition = f"tags.`{FAMILY}` = 'adapter' and tags.`{SPEAKER}` = {quoted(info.adapter_name)}"
        with explain_store_errors("the runs behind the adapter cannot be read"):
            runs = list(search_runs(self.client, experiment_ids(self.client), condition, ViewType.ALL))
        by_digest = [run for run in runs if run.data.tags.get(ADAPTER_FILE) == digest]
        older = [
            run
            for run in runs
            if ADAPTER_FILE not in run.data.tags
            and run.data.tags.get(BASE_DIGEST) == info.base_digest
            and info.metrics
            and all(run.data.metrics.get(name) == value for name, value in info.metrics.items())
        ]
        return next(iter(by_digest or older), None)


def _training_sets(run: Run) -> Iterator[tuple[str, str]]:
    """Yield (path, digest) of the training manifests that a run logged."""
    for one in run.inputs.dataset_inputs if run.inputs else []:
        if any(tag.key == _CONTEXT and tag.value == "train" for tag in one.tags):
            try:
                source = str(json.loads(one.dataset.source or "{}").get("uri", ""))
            except (ValueError, AttributeError):
                source = ""  # not a dataset of asr_lab
            yield source, one.dataset.digest
