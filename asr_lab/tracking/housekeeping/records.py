"""What housekeeping knows of each run: small records, so that tens of thousands of runs fit in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType

from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.metrics.catalog import DECIDES
from asr_lab.tracking.housekeeping.collecting import seldom_collecting
from asr_lab.tracking.store import reaching

KEEP, ARCHIVED, CLEANUP = "asr_lab.keep", "asr_lab.archived", "asr_lab.cleanup"
BUNDLES = "asr_lab.bundles"
"""Every place that a run was archived to, a line each, the newest first; also when it is no longer archived."""
RESTORED_FROM, RESTORING = "asr_lab.restored_from", "asr_lab.restoring"
PARENT = "mlflow.parentRunId"
PURGE_BEGUN = "purge"
"""How the cleanup tag of a run begins whose files are being erased."""
_PAGE = 1000
_OURS = "tags.`asr_lab.family` IS NOT NULL"
_UNSTARTED = (  # of `mlflow run`, ended before asr_lab could mark them as its own
    "attributes.status = 'RUNNING' and tags.`asr_lab.family` IS NULL and tags.`mlflow.project.entryPoint` IS NOT NULL"
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


_MARKS = (KEEP, ARCHIVED, BUNDLES, CLEANUP, RESTORED_FROM, RESTORING)
_TAGS = (*_MARKS, "asr_lab.process", "asr_lab.speaker", "asr_lab.kind", "asr_lab.sweep")


def record_of(run: Run, metric: str = "") -> Record:
    """What housekeeping knows of a run; `metric` is kept besides those that decide."""
    info, tags = run.info, run.data.tags
    started = info.start_time or 0
    # the public `metrics` have no timestamps; asking for each history would be a request a run
    signs = [point.timestamp for point in run.data._metric_objs] if not info.end_time else []
    bases = [tags.get("asr_lab.base", ""), *run.data.params.values()]
    return Record(
        run_id=info.run_id,
        name=info.run_name or "",
        family=tags.get("asr_lab.family", ""),
        model_type=tags.get("asr_lab.model_type", ""),
        status=info.status,
        deleted=info.lifecycle_stage == "deleted",
        started=started,
        ended=info.end_time or 0,
        last_sign=max([started, *signs]),
        artifact_uri=info.artifact_uri,
        experiment_id=info.experiment_id,
        parent=tags.get(PARENT, ""),
        tags={name: value for name, value in tags.items() if name in _TAGS or name.startswith("asr_lab.data.")},
        metrics={name: run.data.metrics[name] for name in {metric, *DECIDES.values()} if name in run.data.metrics},
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
    with reaching("the runs cannot be read"), seldom_collecting():
        of = ViewType.ALL if deleted_experiments else ViewType.ACTIVE_ONLY
        experiments = [one.experiment_id for one in all_pages(client.search_experiments, of)]
        return [
            record_of(run, metric)
            for condition in (_OURS, _UNSTARTED)
            for run in search(client, experiments, condition, view)
        ]


def search(
    client: MlflowClient, experiments: list[str], condition: str, view: int = ViewType.ACTIVE_ONLY
) -> Iterator[Run]:
    """Runs by MLflow's filter grammar, page by page."""
    token: str | None = None
    while experiments:
        page = client.search_runs(
            experiments, condition, view, _PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def models_of(client: MlflowClient, experiment: str, run_id: str) -> Iterator[LoggedModel]:
    """The models that a run logged; softly deleted ones are not told of."""
    condition = f"source_run_id = '{run_id}'"
    return all_pages(lambda page_token: client.search_logged_models([experiment], condition, page_token=page_token))


def resolve(wanted: str, records: list[Record], *, hint: str = "") -> Record:
    """The run of this id, beginning of an id, original id, or name; raises `AsrLabError` when not exactly one is.

    A run that is not deleted goes before deleted ones of the same name.
    """
    tests = (
        lambda one: wanted in (one.run_id, one.name),
        lambda one: one.run_id.startswith(wanted) or one.tags.get(RESTORED_FROM, "").startswith(wanted),
        lambda one: wanted.lower() in one.name.lower(),
    )
    for test in tests:
        hits = [one for one in records if test(one)]
        hits = [one for one in hits if not one.deleted] or hits
        if len(hits) == 1:
            return hits[0]
        if hits:
            names = listing((f"{one.name} ({one.run_id[:8]})" for one in hits), 8)
            raise AsrLabError(f"{len(hits)} runs are called like {wanted!r}", allowed=names)
    near = nearest(wanted, [one.name for one in records])
    raise AsrLabError(
        f"no run {wanted!r}" + (f"; did you mean {near!r}?" if near else ""),
        allowed=listing((one.name for one in records), 8) or "there are no runs yet",
        next_command="asr-lab list",
        hint=hint,
    )


@dataclass(frozen=True)
class Registered:
    """What the model registry holds on to: id of a run or a logged model -> as what it is registered."""

    by_id: dict[str, str] = field(default_factory=dict)

    def of(self, record: Record) -> str:
        """As what a run, or a model it logged, is registered; "" when it is not."""
        return next((self.by_id[id] for id in (record.run_id, *record.models) if id in self.by_id), "")


def registered(client: MlflowClient) -> Registered:
    """Every run and logged model behind a model version, whether named by its run, its source, or its model's run."""
    with reaching("the model registry cannot be read"):
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


def all_pages(read: Callable[..., Any], *arguments: str | int) -> Iterator[Any]:
    token = None
    while True:
        page = read(*arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
