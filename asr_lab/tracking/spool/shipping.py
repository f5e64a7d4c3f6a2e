"""A spool's events, sent to the tracking store in batches; sent twice they are there once.

What may be sent again after a crash between the sending and the noting of it: metric points (the store knows a point
by key, value, time and step), params, tags, datasets, artifacts, models and versions (looked up first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shutil import rmtree
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from asr_lab.errors import AsrLabError
from asr_lab.tracking import packages, registry
from asr_lab.tracking.knock import StoreAwayError
from asr_lab.tracking.spool.journal import Event
from asr_lab.tracking.spool.spool import Spool
from asr_lab.tracking.store import experiment_id, is_final, once, tracking_uri
from asr_lab.training.recorder import RegisteredModel

SPOOL_TAG = "asr_lab.spool"
_METRICS_AT_ONCE = 1000
_BATCHED = ("metrics", "params", "tags")


class RunGoneError(AsrLabError):
    """The run was deleted on the store: nothing can be recorded into it."""


@dataclass
class Delivery:
    """Ships one spool that this process has locked."""

    spool: Spool
    client: MlflowClient
    progress: Callable[[int], None] = lambda _: None
    """Told how many more events the store has."""
    stopped: Callable[[], bool] = lambda: False
    """Asked before each request whether to leave the rest."""
    known_params: set[str] | None = field(default=None, init=False)

    def deliver(self) -> None:
        """Ship everything that waits; what the store will never take is set aside.

        Raises `StoreAwayError` when the store does not take it now, `RunGoneError` when the run was deleted. What was
        shipped until then stays shipped.
        """
        try:
            self.make_run()
            while events := self.spool.read():
                for group in _groups(events):
                    if self.stopped():
                        return
                    self._send(group)
                    self.spool.save(offset=group[-1].end)
                    self._clear(group)
                    self.progress(len(group))
        except AsrLabError:
            raise
        except Exception as error:  # a store, its driver or a proxy may raise anything: the events stay
            raise self._meaning(error) from error

    def again(self) -> None:
        """Offer what was set aside once more."""
        self.spool.try_refused(lambda event: self._refusal([event]) is None)

    # the run

    def make_run(self) -> None:
        """Have the run on the store: made now, or earlier by a request whose answer was lost."""
        state, header = self.spool.state, self.spool.header
        if state.run_id:
            return
        run_id = run_of_spool(self.client, self.spool.id) if state.attempts else ""
        self.spool.save(attempts=state.attempts + 1)
        tags = dict(header.tags) | {SPOOL_TAG: self.spool.id, "asr_lab.process": header.process}
        if MLFLOW_PARENT_RUN_ID in tags:
            tags[MLFLOW_PARENT_RUN_ID] = self._on_store(tags[MLFLOW_PARENT_RUN_ID])
        if not run_id:
            experiment = experiment_id(self.client, header.family)
            with once():
                run = self.client.create_run(experiment, start_time=header.started_ms, run_name=header.name, tags=tags)
            run_id = str(run.info.run_id)
        self.spool.save(run_id=run_id)

    def _on_store(self, id: str) -> str:
        """The id on the store of a run that may have begun without it."""
        folder = self.spool.folder.with_name(id)
        if folder.is_dir():
            run_id = Spool(folder).state.run_id
            if not run_id:
                raise StoreAwayError(f"run {id[:8]}, which this one belongs to, is not on the store yet")
            return run_id
        return run_of_spool(self.client, id) or id

    def _drop_twins(self) -> None:
        """Delete what a server made late of a request that was given up: empty runs of the same spool."""
        if self.spool.state.attempts > 1:
            for run_id in _runs_of_spool(self.client, self.spool.id):
                if run_id != self.spool.state.run_id:
                    self.client.delete_run(run_id)

    # the events

    def _send(self, group: Sequence[Event]) -> None:
        """Send a group; when it is refused, its events one by one, and set aside those that are."""
        if self._refusal(group) is None:
            return
        for event in group:
            why = self._refusal([event])
            if why is not None:
                self.spool.refuse(event, why)

    def _refusal(self, group: Sequence[Event]) -> str | None:
        """Send; why the store will never take it, or None when it did."""
        try:
            if group[0].kind in _BATCHED:
                self._batch(group)
            else:
                self._one(group[0])
        except Exception as error:
            if isinstance(error, FileNotFoundError | KeyError) or _too_large(error):
                return str(error)
            if not is_final(error):
                raise
            self._refuse_gone()
            return _said(error)
        return None

    def _batch(self, events: Sequence[Event]) -> None:
        metrics: list[Metric] = []
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        for event in events:
            values: Mapping[str, Any] = event.content["values"]
            if event.kind == "metrics":
                step = event.content["step"]
                metrics += [Metric(name, value, event.at_ms, step) for name, value in values.items()]
            elif event.kind == "params":
                params = dict(values) | params
            else:
                tags |= values
        run_id = self.spool.state.run_id
        self.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(key, value) for key, value in params.items() if key not in self._known_params()]
            if params
            else [],
            tags=[RunTag(key, self._meant(key, value)) for key, value in tags.items()],
        )
        if params:
            self._known_params().update(params)

    def _known_params(self) -> set[str]:
        """Names of the parameters that the run has: MLflow refuses to change one."""
        if self.known_params is None:
            self.known_params = set(self.client.get_run(self.spool.state.run_id).data.params)
        return self.known_params

    def _meant(self, key: str, value: str) -> str:
        """A tag's value with what was known only by its place in the spool under its name on the store."""
        if key == MLFLOW_PARENT_RUN_ID:
            return self._on_store(value)
        if key == MLFLOW_RUN_NOTE:
            for path, uri in self.spool.state.models.items():
                value = value.replace(str(self.spool.folder / path), uri)
        return value

    def _one(self, event: Event) -> None:
        said, run_id = event.content, self.spool.state.run_id
        if event.kind == "begin":
            self.client.update_run(run_id, status="RUNNING", name=f"{said['name']}-{run_id[:8]}")
        elif event.kind == "dataset":
            self._dataset(said)
        elif event.kind == "artifact":
            self._artifact(said)
        elif event.kind == "model":
            self._model(said)
        elif event.kind == "finish":
            self._drop_twins()
            self.client.set_terminated(run_id, said["status"], end_time=event.at_ms)
        else:
            raise KeyError("a line that cannot be read")

    def _dataset(self, said: Mapping[str, Any]) -> None:
        entity = Dataset(said["name"], said["digest"], "local", said["source"], profile=said["profile"])
        tags = [InputTag("mlflow.data.context", said["split"])]
        self.client.log_inputs(self.spool.state.run_id, [DatasetInput(entity, tags)])

    def _artifact(self, said: Mapping[str, Any]) -> None:
        local, folder = self.spool.folder / said["file"], said["to"]
        if local.is_dir():
            self.client.log_artifacts(self.spool.state.run_id, str(local), f"{folder}/{local.name}".lstrip("/"))
        elif local.is_file():
            self.client.log_artifact(self.spool.state.run_id, str(local), folder or None)
        else:
            raise FileNotFoundError(f"{local} is not there any more")

    def _model(self, said: Mapping[str, Any]) -> None:
        run_id, folder = self.spool.state.run_id, self.spool.folder / said["file"]
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not there any more")
        name, params = said["name"], self.client.get_run(run_id).data.params
        uri = packages.publish(self.client, run_id, folder, name=name, content=said["content"], params=params)
        model_id = uri.removeprefix("models:/")
        points = [
            Metric(key, value, at_ms, step, model_id=model_id) for key, (value, at_ms, step) in said["metrics"].items()
        ]
        for start in range(0, len(points), _METRICS_AT_ONCE):
            self.client.log_batch(run_id, metrics=points[start : start + _METRICS_AT_ONCE])
        if said["register"]:
            model = RegisteredModel(name=name, files={}, tags=said["tags"], description=said["description"])
            uri = registry.uri_of(registry.new_version(self.client, uri, run_id, model))
        self.spool.save(models={**self.spool.state.models, said["file"]: uri})

    def _clear(self, group: Sequence[Event]) -> None:
        """Free the disk of what the store has."""
        refused = {line.get("file") for line in self.spool.refused()}
        for event in group:
            file = event.content.get("file")
            if file and file not in refused:
                rmtree((self.spool.folder / file).parent, ignore_errors=True)

    # what went wrong

    def _refuse_gone(self) -> None:
        """Raise `RunGoneError` when it is the run itself that the store does not have."""
        run_id = self.spool.state.run_id
        try:
            if self.client.get_run(run_id).info.lifecycle_stage == "active":
                return
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        raise RunGoneError(
            f"run {run_id[:8]} was deleted, or belongs to another store: what it recorded waits",
            where=f"{self.spool.folder}, recorded for {self.spool.header.uri}; the store is {tracking_uri()}",
            hint="restore it, set MLFLOW_TRACKING_URI to its store, or drop what waits",
            next_command=f"asr-lab sync --drop {self.spool.id[:8]}",
        )

    def _meaning(self, error: Exception) -> AsrLabError:
        if is_final(error) and self.spool.state.run_id:
            try:
                self._refuse_gone()
            except RunGoneError as gone:
                return gone
            except Exception:  # it is not there to be asked
                return StoreAwayError(f"the tracking store does not answer: {_said(error)}", where=tracking_uri())
        return StoreAwayError(f"the tracking store does not take it: {_said(error)}", where=tracking_uri())


def _said(error: Exception) -> str:
    """The first line of what went wrong."""
    message = error.message if isinstance(error, MlflowException) else str(error)
    return (message.splitlines() or [type(error).__name__])[0][:200]


def _too_large(error: Exception) -> bool:
    """Whether a server says that a file is larger than it takes."""
    return getattr(getattr(error, "response", None), "status_code", 0) == 413


def _groups(events: Sequence[Event]) -> Iterator[list[Event]]:
    """What goes in one request: up to 1000 metric points with params and tags; everything else alone."""
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


def _runs_of_spool(client: MlflowClient, id: str) -> list[str]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`{SPOOL_TAG}` = '{id}'", order_by=["attributes.start_time"])
    return [str(run.info.run_id) for run in found]


def run_of_spool(client: MlflowClient, id: str) -> str:
    """The run that was made of this spool, or ""."""
    return next(iter(_runs_of_spool(client, id)), "")
