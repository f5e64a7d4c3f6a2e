"""What housekeeping knows of each run: small records, so that tens of thousands of runs fit in memory."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion

from asr_lab.families import FAMILIES
from asr_lab.tracking.queries.filters import OURS
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
    """A run as housekeeping sees it; times are in milliseconds since 1970."""

    run_id: str
    name: str
    family: str
    model_type: str
    status: str
    deleted: bool
    started: int
    ended: int
    """When it ended; 0 while it runs."""
    last_sign: int
    """When it last gave a sign of life: its newest metric, else its start."""
    artifact_uri: str
    experiment_id: str
    parent: str
    tags: dict[str, str]
    """Those of its tags that housekeeping goes by."""
    metrics: dict[str, float]
    """The metrics that decide, and the one asked for."""
    needs: tuple[str, ...]
    """Ids of the runs and models that its base lies in."""
    models: tuple[str, ...]
    """Ids of the models it logged."""
    trained_on: str
    """Path of the manifest it learned from."""
    speakers: tuple[str, ...]
    """Whom it has metrics of (`test/wer_by_speaker/ann`), as written in their names."""

    def __str__(self) -> str:
        """Return `john (5e6f7a8b)`."""
        return f"{self.name} ({self.run_id[:8]})"

    @property
    def running(self) -> bool:
        return self.status in ("RUNNING", "SCHEDULED")

    @property
    def purge_begun(self) -> bool:
        """Whether some of it is erased already."""
        return self.tags.get(CLEANUP, "").startswith(PURGE_BEGUN)

    @property
    def deleting_begun(self) -> bool:
        """Whether it was closed to be deleted, and then was not."""
        return CLEANUP in self.tags and not self.purge_begun and not self.deleted and self.status == "KILLED"

    @property
    def since(self) -> int:
        """When it ended, else when it last gave a sign of life: what its age is counted from."""
        return self.ended or self.last_sign


_DECIDE = {name for family in FAMILIES.values() for name in family.decides}
_TAGS = (KEEP, ARCHIVED, BUNDLES, CLEANUP, RESTORED_FROM, RESTORING, PROCESS, SPEAKER, KIND, SWEEP)


def record_of(run: Run, metric: str = "") -> Record:
    """What housekeeping knows of a run; `metric` is kept besides those that decide."""
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
        metrics={name: run.data.metrics[name] for name in {metric, *_DECIDE} if name in run.data.metrics},
        needs=tuple(id for base in bases if base.startswith(("runs:/", "models:/m-")) for id in ids_in(base)),
        models=tuple(output.model_id for output in run.outputs.model_outputs) if run.outputs else (),
        trained_on=run.data.params.get("data.train", ""),
        speakers=tuple({name.split("_by_speaker/")[1] for name in run.data.metrics if "_by_speaker/" in name}),
    )


def ids_in(text: str) -> list[str]:
    """The ids of runs and of logged models in a URI or path."""
    return _IDS.findall(text)


def scan(
    client: MlflowClient, *, metric: str = "", deleted: bool = False, deleted_experiments: bool = False
) -> list[Record]:
    """All runs of asr_lab, newest first, with those that `mlflow run` left; `deleted`: with the deleted ones."""
    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    with explain_store_errors("the runs cannot be read"), _seldom_collecting():
        experiments = experiment_ids(client, ViewType.ALL if deleted_experiments else ViewType.ACTIVE_ONLY)
        return [
            record_of(run, metric)
            for condition in (OURS, _UNSTARTED)
            for run in search_runs(client, experiments, condition, view)
        ]


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Collect seldom while many runs are read: 10,000 of them take 4 s of CPU instead of 10 s, in the same memory.

    Each run is dozens of objects, so the usual thresholds bring hundreds of collections that find nothing.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def models_of(client: MlflowClient, experiment: str, run_id: str) -> Iterator[LoggedModel]:
    """The models that a run logged; softly deleted ones are not told of."""
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
