"""What housekeeping knows of each run: small records, so that tens of thousands of runs fit in memory."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType

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


@dataclass(frozen=True)
class Registered:
    """What the model registry holds on to: id of a run or a logged model -> as what it is registered."""

    by_id: dict[str, str] = field(default_factory=dict)

    def of(self, record: Record) -> str:
        """As what a run, or a model it logged, is registered; "" when it is not."""
        return next((self.by_id[id] for id in (record.run_id, *record.models) if id in self.by_id), "")


def registered(client: MlflowClient) -> Registered:
    """Every run and logged model behind a model version, whether named by its run, its source, or its model's run."""
    with explain_store_errors("the model registry cannot be read"):
        by_id: dict[str, str] = {}
        aliases: dict[str, list[str]] = {}
        for model in all_pages(client.search_registered_models):
            for alias, number in model.aliases.items():
                aliases.setdefault(f"{model.name}/{number}", []).append(f"@{alias}")
        for version in all_pages(client.search_model_versions):  # no filter by name: a name may hold quotes
            called = f"{version.name}/{version.version}"
            ids = [*ids_in(version.source or ""), *ids_in(version.run_id or "")]
            if not version.run_id:
                ids += [_source_run(client, id) for id in ids if id.startswith("m-")]
            by_id |= {id: " ".join([called, *aliases.get(called, [])]) for id in ids if id}
        return Registered(by_id)


def _source_run(client: MlflowClient, model_id: str) -> str:
    return client.get_logged_model(model_id).source_run_id or ""
