"""Erase all data of a speaker, including pinned and registered runs."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Set
from pathlib import Path

from mlflow import MlflowClient

from asr_lab.config.names import ADAPTER_PREFIX
from asr_lab.errors import AsrLabError
from asr_lab.tracking import artifacts
from asr_lab.tracking.archive import archive
from asr_lab.tracking.cleanup.apply import mark
from asr_lab.tracking.cleanup.database_rows import Rows
from asr_lab.tracking.cleanup.erase import CHECKPOINTS, Eraser
from asr_lab.tracking.erasure import logged_comparisons, rewrite_bundles, scrub
from asr_lab.tracking.erasure.audit_record import ErasureRecord, drop_names, finish_record, open_record
from asr_lab.tracking.erasure.search import SpeakerData
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.store import all_pages
from asr_lab.tracking.tags import PURGE_BEGUN


def erase(
    client: MlflowClient, data: SpeakerData, *, backend_store_uri: str = "", done: Callable[[], object]
) -> ErasureRecord:
    """Erase a speaker's data, and leave an erasure record. Steps are repeatable; a second call finishes the rest.

    Raises `AsrLabError` before erasing if a run is not in the database, and at the end if rows are left that only the
    server's database can erase.
    """
    eraser = Eraser(client, backend_store_uri, even_registered=True)
    eraser.check([*data.runs, *data.evaluated_with_others, *data.compared])
    record = open_record(client, data.speaker, data.counts(), data.known_as - {data.speaker})
    for one in data.runs:  # so that a repeated call finds each run again
        mark(client, one, PURGE_BEGUN, f"forgotten, record {record.info.run_id}")
    left = _erase_among_others(client, data, eraser.rows, done)
    for location in data.bundles.own:
        archive.delete(location)
        done()
    _delete_versions(client, data)
    for path in data.files:
        artifacts.remove(path)
        done()
    for one in data.runs:
        eraser.erase(one)
        done()
    if not eraser.rows and (data.runs or left):
        raise AsrLabError(
            f"not all is erased: rows of {len(data.runs) + left} runs are still in the server's database",
            hint="their files are gone; a tracking server cannot erase rows",
            next_command=f"asr-lab forget {shlex.quote(data.speaker)} --backend-store-uri URI-OF-THE-SERVER'S-DATABASE",
        )
    drop_names(client, record)
    if eraser.rows:
        with artifacts.explain_artifact_errors("what was deleted cannot be overwritten"):
            eraser.rows.overwrite_deleted()
    return finish_record(client, record)


def _erase_among_others(client: MlflowClient, data: SpeakerData, rows: Rows | None, done: Callable[[], object]) -> int:
    """Remove the speaker from data shared with others, bundles first; return how many runs keep their metrics."""
    for location in data.bundles.others:
        rewrite_bundles.rewrite_without(client, location, data.traces)
        done()
    left = 0
    for one in data.evaluated_with_others:
        left += _scrub(client, one, data.known_as, rows)
        done()
    for one in data.compared:
        artifacts.delete(one.artifact_uri, one.run_id, logged_comparisons.FOLDER)
        done()
    return left


def _scrub(client: MlflowClient, one: Record, speakers: Set[str], rows: Rows | None) -> int:
    """Remove speakers from a run; return 1 if their metrics are left, which only the database can erase."""
    with tempfile.TemporaryDirectory() as staging:
        scrub.scrub_artifacts(one.artifact_uri, speakers, Path(staging))
    with artifacts.explain_artifact_errors(f"the examples beside the checkpoints of {one.name} cannot be changed"):
        scrub.scrub_checkpoints(CHECKPOINTS / one.run_id, speakers)
    with artifacts.explain_artifact_errors(f"the metrics of {one.name} cannot be erased"):
        names = scrub.metrics_of(set(client.get_run(one.run_id).data.metrics), speakers)
        if rows:
            rows.erase_metrics(one.run_id, names)
    return int(bool(names) and rows is None)


def _delete_versions(client: MlflowClient, data: SpeakerData) -> None:
    with artifacts.explain_artifact_errors("a registered version cannot be deleted"):
        every = [(made.name, str(made.version)) for made in all_pages(client.search_model_versions)]
        names = {ADAPTER_PREFIX + data.speaker, *(name for name, _ in data.versions)}
        for name in names & {model.name for model in all_pages(client.search_registered_models)}:
            of_name = {version for version in every if version[0] == name}
            if of_name <= set(data.versions):
                client.delete_registered_model(name)
                continue
            for _, version in of_name & set(data.versions):
                client.delete_model_version(name, version)
