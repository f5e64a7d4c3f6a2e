"""Compact records of runs for housekeeping: tens of thousands fit in memory."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME

from asr_lab.families import FAMILIES
from asr_lab.tracking.queries.filters import OURS
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.store import all_pages, experiment_ids, explain_store_errors, search_runs
from asr_lab.tracking.tags import (
    ARCHIVED,
    BASE,
    BUNDLES,
    CLEANUP,
    DATA,
    FAMILY,
    KEEP,
    KIND,
    MODEL_TYPE,
    PARENT,
    PROCESS,
    PURGE_BEGUN,
    RESTORED_FROM,
    RESTORING,
    SPEAKER,
    SWEEP,
)

_UNSTARTED = (  # of `mlflow run`, ended before asr_lab could mark them as its own
    f"attributes.status = 'RUNNING' and tags.`{FAMILY}` IS NULL and tags.`mlflow.project.entryPoint` IS NOT NULL"
)
_RUNS_PER_QUERY = 100
_IDS = re.compile(r"m-[0-9a-f]{32}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What housekeeping needs of a run; times are in milliseconds since 1970."""

    run_id: str
    name: str
    family: str
    model_type: str
    status: str
    deleted: bool
    started: int
    ended: int
    """End time; 0 while it runs."""
    last_sign: int
    """Time of its newest metric, else its start."""
    artifact_uri: str
    experiment_id: str
    parent: str
    tags: dict[str, str]
    """The tags that housekeeping uses."""
    metrics: dict[str, float]
    """The deciding metrics, and the requested one."""
    needs: tuple[str, ...]
    """Ids of the runs and models that contain its base."""
    models: tuple[str, ...]
    """Ids of the models it logged."""
    trained_on: str
    """Path of its training manifest."""
    speakers: tuple[str, ...]
    """Speakers in the names of its metrics (`test/wer_by_speaker/ann`)."""

    def __str__(self) -> str:
        """Return `john (5e6f7a8b)`."""
        return f"{self.name} ({self.run_id[:8]})"

    @property
    def running(self) -> bool:
        return self.status in ("RUNNING", "SCHEDULED")

    @property
    def purge_begun(self) -> bool:
        """Whether it is partly erased."""
        return self.tags.get(CLEANUP, "").startswith(PURGE_BEGUN)

    @property
    def deleting_begun(self) -> bool:
        """Whether it was closed for deletion, but not deleted."""
        return CLEANUP in self.tags and not self.purge_begun and not self.deleted and self.status == "KILLED"

    @property
    def since(self) -> int:
        """Start of its age: its end, else its last sign of life."""
        return self.ended or self.last_sign


_DECIDE = {name for family in FAMILIES.values() for name in family.decides}
_TAGS = (KEEP, ARCHIVED, BUNDLES, CLEANUP, RESTORED_FROM, RESTORING, PROCESS, SPEAKER, KIND, SWEEP, MLFLOW_SOURCE_NAME)


def record_of(run: Run, metric: str = "") -> Record:
    """Make the record of a run, with the deciding metrics and `metric`."""
    info, tags = run.info, run.data.tags
    started = info.start_time or 0
    # the public `metrics` have no timestamps; asking for each history would be a request a run
    signs = [point.timestamp for point in run.data._metric_objs] if not info.end_time else []
    bases = [tags.get(BASE, ""), *run.data.params.values()]
    return Record(
        run_id=info.run_id,
        name=info.run_name or "",
        family=tags.get(FAMILY, ""),
        model_type=tags.get(MODEL_TYPE, ""),
        status=info.status,
        deleted=info.lifecycle_stage == "deleted",
        started=started,
        ended=info.end_time or 0,
        last_sign=max([started, *signs]),
        artifact_uri=info.artifact_uri,
        experiment_id=info.experiment_id,
        parent=tags.get(PARENT, ""),
        tags={name: value for name, value in tags.items() if name in _TAGS or name.startswith(DATA)},
        metrics={name: value for name, value in metrics_of(run).items() if name in {metric, *_DECIDE}},
        needs=tuple(id for base in bases if base.startswith(("runs:/", "models:/m-")) for id in ids_in(base)),
        models=tuple(output.model_id for output in run.outputs.model_outputs) if run.outputs else (),
        trained_on=run.data.params.get("data.train", ""),
        speakers=tuple({name.split("_by_speaker/")[1] for name in run.data.metrics if "_by_speaker/" in name}),
    )


def ids_in(text: str) -> list[str]:
    """Return the ids of runs and logged models in a URI or path."""
    return _IDS.findall(text)


def scan(
    client: MlflowClient, *, metric: str = "", deleted: bool = False, deleted_experiments: bool = False
) -> list[Record]:
    """Return all runs of asr_lab, newest first, and unstarted ones of `mlflow run`; `deleted`: also deleted ones."""
    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    with explain_store_errors("the runs cannot be read"), _seldom_collecting():
        experiments = experiment_ids(client, ViewType.ALL if deleted_experiments else ViewType.ACTIVE_ONLY)
        return _with_signs_of_children(
            [
                record_of(run, metric)
                for condition in (OURS, _UNSTARTED)
                for run in search_runs(client, experiments, condition, view)
            ]
        )


def _with_signs_of_children(records: list[Record]) -> list[Record]:
    """Let the last sign of life of a child be one of its parent too: a sweep itself may log nothing for days."""
    signs: dict[str, int] = {}
    for one in records:
        if one.parent:
            signs[one.parent] = max(signs.get(one.parent, 0), one.last_sign, one.ended)
    return [
        replace(one, last_sign=max(one.last_sign, signs[one.run_id])) if one.running and one.run_id in signs else one
        for one in records
    ]


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Collect garbage less often: reading 10,000 runs takes 4 s of CPU instead of 10 s, in the same memory."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def models_of(client: MlflowClient, experiment: str, run_id: str) -> Iterator[LoggedModel]:
    """Yield the models that a run logged, without soft-deleted ones."""
    condition = f"source_run_id = '{run_id}'"
    return all_pages(client.search_logged_models, [experiment], condition)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A version of a registered model."""

    name: str
    version: str
    aliases: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`NAME/3 @champion`, as bundles store it."""
        return " ".join([f"{self.name}/{self.version}", *(f"@{alias}" for alias in self.aliases)])


@dataclass(frozen=True)
class Registrations:
    """Registered versions by the id of the run or logged model behind them."""

    by_id: dict[str, list[Registration]] = field(default_factory=dict)

    def of(self, *ids: str) -> str:
        """Return the registration of the first of these runs or models that has one; "" if none has."""
        return next((str(self.by_id[id][-1]) for id in ids if id in self.by_id), "")


def read_registrations(client: MlflowClient, run_ids: Sequence[str] | None = None) -> Registrations:
    """Return the registered versions of these runs, or, without `run_ids`, of every run and logged model.

    A version belongs to its run, to its source, and to the run of its source.
    """
    with explain_store_errors("the model registry cannot be read"):
        versions = _versions(client, run_ids)
        if run_ids is None:  # one request instead of one per name
            models = list(all_pages(client.search_registered_models))
        else:
            models = [client.get_registered_model(name) for name in {version.name for version in versions}]
        aliases: dict[tuple[str, str], list[str]] = {}
        for model in models:
            for alias, number in model.aliases.items():
                aliases.setdefault((model.name, str(number)), []).append(alias)
        by_id: dict[str, list[Registration]] = {}
        for version in versions:
            key = version.name, str(version.version)
            registration = Registration(name=key[0], version=key[1], aliases=tuple(aliases.get(key, ())))
            ids = [*ids_in(version.source or ""), *ids_in(version.run_id or "")]
            if not version.run_id:
                ids += [client.get_logged_model(id).source_run_id or "" for id in ids if id.startswith("m-")]
            for id in dict.fromkeys(filter(None, ids)):
                by_id.setdefault(id, []).append(registration)
    return Registrations(by_id)


def _versions(client: MlflowClient, run_ids: Sequence[str] | None) -> list[ModelVersion]:
    if run_ids is None:
        return list(all_pages(client.search_model_versions))  # no filter by name: a name may hold quotes
    versions: list[ModelVersion] = []
    for start in range(0, len(run_ids), _RUNS_PER_QUERY):
        quoted = ",".join(f"'{run_id}'" for run_id in run_ids[start : start + _RUNS_PER_QUERY])
        versions += all_pages(client.search_model_versions, f"run_id IN ({quoted})")
    return versions
