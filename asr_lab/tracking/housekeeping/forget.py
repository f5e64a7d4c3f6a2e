"""Everything of one person: what there is, and its erasure, whatever else protects it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from asr_lab.data.speakers import speakers
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.metrics.catalog import in_a_name
from asr_lab.tracking.housekeeping import archive, bundle, files, rebundle, scrub
from asr_lab.tracking.housekeeping.erase import SPOOL, Eraser, local_folders
from asr_lab.tracking.housekeeping.forgotten import Forgotten, finish_record, open_record, unfinished_record
from asr_lab.tracking.housekeeping.records import ARCHIVED, Record, all_pages, ids_in, scan
from asr_lab.tracking.housekeeping.rows import Rows
from asr_lab.tracking.registry import ADAPTER_NAME, ADAPTER_SUFFIX

_SPEAKER = "asr_lab.speaker"
_ADAPTERS, _FEATURES = Path("adapters"), Path("features")


@dataclass
class Found:
    """What there is of a person."""

    person: str
    known_as: set[str]
    """Under which names their utterances are marked in tables: theirs, and the speaker of their own corpora."""
    runs: list[Record] = field(default_factory=list)
    """Theirs alone: erased."""
    among_others: list[Record] = field(default_factory=list)
    """Evaluated on them among others: their rows and pages are erased."""
    learned_among_others: list[Record] = field(default_factory=list)
    """Trained on them among others, as the manifest on this machine says: told, and erased when asked."""
    versions: list[tuple[str, str]] = field(default_factory=list)
    """(registered model, version)"""
    files: list[Path] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    """Of their own runs: erased."""
    others_bundles: list[str] = field(default_factory=list)
    """Of runs that were evaluated on them among others: written anew without them."""

    def counts(self) -> dict[str, int]:
        """How many of what goes; the record holds no more than this."""
        return {
            "runs": len(self.runs),
            "logged models": sum(len(run.models) for run in self.runs),
            "registered versions": len(self.versions),
            "runs of others with their utterances": len(self.among_others),
            "files and folders": len(self.files),
            "bundles": len(self.bundles) + len(self.others_bundles),
        }

    @property
    def is_empty(self) -> bool:
        return not any(self.counts().values())


def look(
    client: MlflowClient,
    person: str,
    *,
    bundles: Sequence[str] = (),
    shared_models: bool = False,
    each: Callable[[Sequence[Record]], Iterable[Record]] = iter,
) -> Found:
    """Find everything of a person; changes nothing.

    `bundles` are folders searched for bundles of runs that the store no longer has; `each` goes through the runs
    (with a bar). Raises `AsrLabError` when nobody of that name is known.
    """
    records = scan(client, deleted=True, deleted_experiments=True)
    tables = {one.run_id: _who(one) for one in each(records)}
    trained = {path: speakers(Path(path)) for path in {one.trained_on for one in records} if path}
    found = Found(person, {person})
    _own_versions(client, found, [one for one in records if one.tags.get(_SPEAKER) == person])
    registered = set(_ids_of_versions(client, found))
    found.runs = [one for one in records if one.tags.get(_SPEAKER) == person or one.run_id in registered]
    found.known_as |= {name for one in found.runs if len(tables[one.run_id]) == 1 for name in tables[one.run_id]}
    _sort(found, records, tables, trained, shared_models)
    _own_versions(client, found, found.runs)
    found.files = _local(found)
    _find_bundles(found, bundles)
    if found.is_empty and not unfinished_record(client, person):
        known = {one.tags[_SPEAKER] for one in records if _SPEAKER in one.tags} | set(_adapters())
        known = known.union(*tables.values(), *trained.values()) - {""}
        raise _unknown(person, known)
    return found


def _who(one: Record) -> Counter[str]:
    with (
        files.handling(f"the tables of {one.name} cannot be read", one.artifact_uri),
        tempfile.TemporaryDirectory() as staging,
    ):
        return scrub.who(one.artifact_uri, Path(staging))


def _sort(
    found: Found,
    records: Sequence[Record],
    tables: dict[str, Counter[str]],
    trained: dict[str, Counter[str]],
    shared_models: bool,
) -> None:
    """Put each further run where it belongs: theirs alone, evaluated on them, learned from them among others."""
    own = {one.run_id for one in found.runs}
    for one in records:
        if one.run_id in own:
            continue
        learned, tested = set(trained.get(one.trained_on, ())), set(tables[one.run_id])
        only_tested = one.tags.get("asr_lab.kind") == "evaluate" and tested and tested <= found.known_as
        if (learned and learned <= found.known_as) or only_tested or (learned & found.known_as and shared_models):
            found.runs.append(one)
        else:
            if learned & found.known_as:
                found.learned_among_others.append(one)
            if tested & found.known_as or set(one.speakers) & {in_a_name(name) for name in found.known_as}:
                found.among_others.append(one)


def _own_versions(client: MlflowClient, found: Found, own: Sequence[Record]) -> None:
    """Every version of the person's registered adapter, and every other version that one of their runs is behind."""
    ids = {id for one in own for id in (one.run_id, *one.models)}
    with files.handling("the model registry cannot be read"):
        found.versions = [
            (version.name, str(version.version))
            for version in all_pages(client.search_model_versions)
            if version.name == ADAPTER_NAME + found.person
            or ids & {*ids_in(version.source or ""), version.run_id or ""}
        ]


def _ids_of_versions(client: MlflowClient, found: Found) -> Iterable[str]:
    for name, version in found.versions:
        with files.handling("the model registry cannot be read"):
            made = client.get_model_version(name, version)
            yield from ids_in(f"{made.run_id} {made.source}")


def _adapters() -> dict[str, Path]:
    return {path.name.removesuffix(ADAPTER_SUFFIX): path for path in _ADAPTERS.glob(f"*{ADAPTER_SUFFIX}")}


def _local(found: Found) -> list[Path]:
    """Files of the person in this working folder: the adapter, stored features, checkpoints, spools."""
    adapters = [path for name, path in _adapters().items() if name == found.person]
    features = [path for path in _FEATURES.rglob("*") if path.name.split(".")[0] in found.known_as]
    spools = [path for path in SPOOL.glob("*") if path.is_dir() and _spooled_for(path, found.person)]
    own = [folder for one in found.runs for folder in local_folders(one.run_id)]
    return list(dict.fromkeys([*adapters, *features, *spools, *own]))


def _spooled_for(folder: Path, person: str) -> bool:
    """Whether a spool, perhaps of a run that no server knows yet, says that it is of this person."""
    marks = (f'"{_SPEAKER}": "{person}"', f'"{_SPEAKER}":"{person}"')
    return any(
        mark in path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.json*") for mark in marks
    )


def _find_bundles(found: Found, folders: Sequence[str]) -> None:
    own = {one.run_id for one in found.runs}
    tagged = {one.run_id: archive.located(one.tags[ARCHIVED])[0] for one in found.runs if ARCHIVED in one.tags}
    found.bundles = list(tagged.values())
    others = [archive.located(one.tags[ARCHIVED])[0] for one in found.among_others if ARCHIVED in one.tags]
    found.others_bundles = others
    for location in (one for folder in folders for one in files.listed(folder, bundle.SUFFIX)):
        if location in found.bundles or location in others:
            continue
        whose = rebundle.whose(location, found.known_as)
        if whose.speaker == found.person or whose.run_id in own or whose.alone:
            found.bundles.append(location)
        elif whose.among_others:
            found.others_bundles.append(location)


def _unknown(person: str, known: set[str]) -> AsrLabError:
    near = nearest(person, known)
    return AsrLabError(
        f"nothing is known of {person!r}" + (f"; did you mean {near!r}?" if near else ""),
        allowed=listing(sorted(known)) or "nobody is known yet",
    )


def erase(client: MlflowClient, found: Found, *, backend_store_uri: str = "", done: Callable[[], object]) -> Forgotten:
    """Erase what was found, and leave a record of it. Every step can be repeated; what was cut off is finished.

    Raises `AsrLabError` when rows are left that only the server's database could erase: then it is not all gone.
    """
    eraser = Eraser(client, backend_store_uri, even_registered=True)
    record = open_record(client, found.person, found.counts())
    for location in found.others_bundles:  # first what can be found only by what comes after
        rebundle.without(client, location, found.known_as)
        done()
    left = 0
    for one in found.among_others:
        left += _scrub(client, one, found.known_as, eraser.rows)
        done()
    for location in found.bundles:
        archive.delete(location)
        done()
    _delete_versions(client, found)
    for path in found.files:
        files.remove(path)
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
    if eraser.rows:
        with files.handling("what was deleted cannot be overwritten"):
            eraser.rows.overwrite_deleted()
    return finish_record(client, record)


def _scrub(client: MlflowClient, one: Record, people: set[str], rows: Rows | None) -> int:
    """Take people out of a run of others; 1 when metrics of theirs are left, which only the database could erase."""
    with tempfile.TemporaryDirectory() as staging:
        scrub.scrub_artifacts(one.artifact_uri, people, Path(staging))
    with files.handling(f"the metrics of {one.name} cannot be erased"):
        names = scrub.metrics_of(set(client.get_run(one.run_id).data.metrics), people)
        if rows:
            rows.erase_metrics(one.run_id, names)
    return int(bool(names) and rows is None)


def _delete_versions(client: MlflowClient, found: Found) -> None:
    with files.handling("a registered version cannot be deleted"):
        every = [(made.name, str(made.version)) for made in all_pages(client.search_model_versions)]
        names = {ADAPTER_NAME + found.person, *(name for name, _ in found.versions)}
        for name in names & {model.name for model in all_pages(client.search_registered_models)}:
            of_name = {version for version in every if version[0] == name}
            if of_name <= set(found.versions):
                client.delete_registered_model(name)
                continue
            for _, version in of_name & set(found.versions):
                client.delete_model_version(name, version)
