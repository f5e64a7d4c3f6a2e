"""The erasure of everything that was found of one person, whatever else protects it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Set
from pathlib import Path

from mlflow import MlflowClient

from asr_lab.errors import AsrLabError
from asr_lab.tracking import artifacts
from asr_lab.tracking.archive import archive
from asr_lab.tracking.cleanup.apply import mark
from asr_lab.tracking.cleanup.database_rows import Rows
from asr_lab.tracking.cleanup.erase import CHECKPOINTS, Eraser
from asr_lab.tracking.erasure import logged_comparisons, rewrite_bundles, scrub
from asr_lab.tracking.erasure.audit_record import Forgotten, drop_names, finish_record, open_record
from asr_lab.tracking.erasure.search import Found
from asr_lab.tracking.models.registry import ADAPTER_NAME
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.store import all_pages
from asr_lab.tracking.tags import PURGE_BEGUN


def erase(client: MlflowClient, found: Found, *, backend_store_uri: str = "", done: Callable[[], object]) -> Forgotten:
    """Erase what was found, and leave a record of it. Every step can be repeated; what was cut off is finished.

    Raises `AsrLabError` before anything is erased when a run is not in the database, and in the end when rows are left
    that only the server's database could erase: then it is not all gone.
    """
    eraser = Eraser(client, backend_store_uri, even_registered=True)
    eraser.check([*found.runs, *found.among_others, *found.compared])
    record = open_record(client, found.person, found.counts(), found.known_as - {found.person})
    for one in found.runs:  # so that each is found again, also when what told whose it is has gone
        mark(client, one, PURGE_BEGUN, f"forgotten, record {record.info.run_id}")
    left = _erase_among_others(client, found, eraser.rows, done)
    for location in found.bundles.own:
        archive.delete(location)
        done()
    _delete_versions(client, found)
    for path in found.files:
        artifacts.remove(path)
        done()
    for one in found.runs:
        eraser.erase(one)
        done()
    if not eraser.rows and (found.runs or left):
        raise AsrLabError(
            f"not all is erased: rows of {len(found.runs) + left} runs are still in the server's database",
            hint="their files are gone; a tracking server cannot erase rows",
            next_command=f"asr-lab forget {found.person} --backend-store-uri URI-OF-THE-SERVER'S-DATABASE",
        )
    drop_names(client, record)
    if eraser.rows:
        with artifacts.handling("what was deleted cannot be overwritten"):
            eraser.rows.overwrite_deleted()
    return finish_record(client, record)


def _erase_among_others(client: MlflowClient, found: Found, rows: Rows | None, done: Callable[[], object]) -> int:
    """Take the person out of what is about others too, bundles first; how many runs keep metrics of them."""
    for location in found.bundles.others:
        rewrite_bundles.without(client, location, found.traces)
        done()
    left = 0
    for one in found.among_others:
        left += _scrub(client, one, found.known_as, rows)
        done()
    for one in found.compared:
        artifacts.delete(one.artifact_uri, one.run_id, logged_comparisons.FOLDER)
        done()
    return left


def _scrub(client: MlflowClient, one: Record, people: Set[str], rows: Rows | None) -> int:
    """Take people out of a run of others; 1 when metrics of theirs are left, which only the database could erase."""
    with tempfile.TemporaryDirectory() as staging:
        scrub.scrub_artifacts(one.artifact_uri, people, Path(staging))
    with artifacts.handling(f"the examples beside the checkpoints of {one.name} cannot be changed"):
        scrub.scrub_checkpoints(CHECKPOINTS / one.run_id, people)
    with artifacts.handling(f"the metrics of {one.name} cannot be erased"):
        names = scrub.metrics_of(set(client.get_run(one.run_id).data.metrics), people)
        if rows:
            rows.erase_metrics(one.run_id, names)
    return int(bool(names) and rows is None)


def _delete_versions(client: MlflowClient, found: Found) -> None:
    with artifacts.handling("a registered version cannot be deleted"):
        every = [(made.name, str(made.version)) for made in all_pages(client.search_model_versions)]
        names = {ADAPTER_NAME + found.person, *(name for name, _ in found.versions)}
        for name in names & {model.name for model in all_pages(client.search_registered_models)}:
            of_name = {version for version in every if version[0] == name}
            if of_name <= set(found.versions):
                client.delete_registered_model(name)
                continue
            for _, version in of_name & set(found.versions):
                client.delete_model_version(name, version)
