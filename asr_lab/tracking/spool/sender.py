"""Send a group of events to the run on the store; sending twice has the same effect as once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.metrics.catalog import figures
from asr_lab.reports.headline import headline
from asr_lab.reports.markdown import escape_markdown
from asr_lab.tracking import artifacts
from asr_lab.tracking.models import pyfunc_package, registry
from asr_lab.tracking.models.names import refuse_other_kind, uri_of
from asr_lab.tracking.spool.created_runs import run_id_on_store, runs_of_spool
from asr_lab.tracking.spool.journal import Event
from asr_lab.tracking.spool.spool import Spool

_METRICS_AT_ONCE = 1000
_BATCHED = ("begin", "metrics", "params", "tags")


@dataclass
class Sender:
    """Sends events of a spool whose run is on the store."""

    spool: Spool
    client: MlflowClient
    known_params: set[str] | None = field(default=None, init=False)

    def send(self, group: Sequence[Event]) -> None:
        """Send a group of `groups`; raises what the store, its driver, or a proxy raises."""
        try:
            if group[0].kind in _BATCHED:
                self._batch(group)
            else:
                self._one(group[0])
        except BaseException:
            self.spool.artifact_uri = ""  # some of it may have arrived: the run no longer counts as new
            raise

    def _drop_twins(self) -> None:
        """Delete empty runs of the same spool, created by requests that timed out."""
        if self.spool.state.attempts > 1:
            for run_id in runs_of_spool(self.client, self.spool.id):
                if run_id != self.spool.state.run_id:
                    self.client.delete_run(run_id)

    def _batch(self, events: Sequence[Event]) -> None:
        metrics: list[Metric] = []
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        for event in events:
            if event.kind == "begin":
                tags |= self._begin(event.content["name"])
                continue
            values: Mapping[str, Any] = event.content["values"]
            if event.kind == "metrics":
                step = event.content["step"]
                metrics += [Metric(name, value, event.at_ms, step) for name, value in values.items()]
            elif event.kind == "params":
                params = dict(values) | params
            else:
                tags |= values
        self.client.log_batch(
            self.spool.state.run_id,
            metrics=metrics,
            params=[Param(key, value) for key, value in params.items() if key not in self._known_params()]
            if params
            else [],
            tags=[RunTag(key, self._with_store_ids(key, value)) for key, value in self._unknown(tags).items()],
        )
        if params:
            self._known_params().update(params)

    @property
    def _is_new(self) -> bool:
        """Whether the run was made just now: it is RUNNING and has its header's tags, which saves requests."""
        return bool(self.spool.artifact_uri) and not self.spool.state.offset

    def _begin(self, name: str) -> dict[str, str]:
        """Return the tag that names the run; one that was there before is RUNNING again."""
        run_id = self.spool.state.run_id
        named = f"{name}-{run_id[:8]}"
        if self._is_new:
            return {MLFLOW_RUN_NAME: named}
        self.client.update_run(run_id, status="RUNNING", name=named)
        return {}

    def _unknown(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Return the tags that the run was not made with."""
        made_with = self.spool.header.tags if self._is_new else {}
        return {key: value for key, value in tags.items() if made_with.get(key) != value}

    def _known_params(self) -> set[str]:
        """Return the names of the run's parameters: MLflow refuses to change one."""
        if self.known_params is None:
            run_id = self.spool.state.run_id
            self.known_params = set() if self._is_new else set(self.client.get_run(run_id).data.params)
        return self.known_params

    def _with_store_ids(self, key: str, value: str) -> str:
        """Replace paths in the spool and ids of spools in a tag by their URIs and ids on the store."""
        if key == MLFLOW_PARENT_RUN_ID:
            return run_id_on_store(self.client, self.spool, value)
        if key == MLFLOW_RUN_NOTE:
            for path, uri in self.spool.state.models.items():
                value = value.replace(str(self.spool.folder / path), escape_markdown(uri))
        return value

    def _one(self, event: Event) -> None:
        content, run_id = event.content, self.spool.state.run_id
        if event.kind == "dataset":
            self._dataset(content)
        elif event.kind == "artifact":
            self._artifact(content)
        elif event.kind == "model":
            self._model(content)
        elif event.kind == "finish":
            self._drop_twins()
            self.client.set_terminated(run_id, content["status"], end_time=event.at_ms)
        else:
            raise KeyError("a line that cannot be read")

    def _dataset(self, content: Mapping[str, Any]) -> None:
        entity = Dataset(content["name"], content["digest"], "local", content["source"], profile=content["profile"])
        tags = [InputTag("mlflow.data.context", content["split"])]
        self.client.log_inputs(self.spool.state.run_id, [DatasetInput(entity, tags)])

    def _artifact(self, content: Mapping[str, Any]) -> None:
        local, folder = self.spool.file(content["file"]), content["to"]
        if local.is_dir():
            self._artifacts.log_artifacts(str(local), f"{folder}/{local.name}".lstrip("/"))
        elif local.is_file():
            self._artifacts.log_artifact(str(local), folder or None)
        else:
            raise FileNotFoundError(f"{local} is not there any more")

    @cached_property
    def _artifacts(self) -> ArtifactRepository:
        uri = self.spool.artifact_uri or self.client.get_run(self.spool.state.run_id).info.artifact_uri
        return artifacts.repository(uri)

    def _model(self, content: Mapping[str, Any]) -> None:
        run_id, folder = self.spool.state.run_id, self.spool.file(content["file"])
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not there any more")
        name, params = content["name"], self.client.get_run(run_id).data.params
        datasets = content.get("datasets", {})  # none in older spools
        uri = pyfunc_package.publish(self.client, run_id, folder, name=name, content=content["content"], params=params)
        model_id = uri.removeprefix("models:/")
        points = [
            Metric(key, value, at_ms, step, model_id, *datasets.get(_split_of(key), (None, None)))
            for key, (value, at_ms, step) in content["metrics"].items()
        ]
        if result := headline(self.spool.header.family, figures({point.key: point.value for point in points})):
            self.client.set_logged_model_tags(model_id, {MLFLOW_RUN_NOTE: result})
        for start in range(0, len(points), _METRICS_AT_ONCE):
            self.client.log_batch(run_id, metrics=points[start : start + _METRICS_AT_ONCE])
        if content["register"]:
            refuse_other_kind(name, self.spool.header.family)  # an offline run could not check it
            model = RegisteredModel(name=name, files={}, tags=content["tags"], description=content["description"])
            uri = uri_of(registry.new_version(self.client, uri, run_id, model))
        self.spool.save(models={**self.spool.state.models, content["file"]: uri})


def _split_of(metric: str) -> str:
    """Return the split that a metric is of; scores of the base alone are of the same utterances."""
    return metric.partition("/")[0].removeprefix("base_")


def groups(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield requests: up to 1000 metric points with params and tags; any other event alone."""
    group: list[Event] = []
    points = 0
    for event in events:
        if event.kind not in _BATCHED:
            if group:
                yield group
            yield [event]
            group, points = [], 0
            continue
        count = len(event.content.get("values", ()))
        if group and points + count > _METRICS_AT_ONCE:
            yield group
            group, points = [], 0
        group.append(event)
        points += count
    if group:
        yield group
