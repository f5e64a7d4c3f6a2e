"""Find all data of a speaker in the store, the working folder and bundles; changes nothing."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from asr_lab.config.names import ADAPTER_PREFIX
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.metrics.catalog import in_a_name
from asr_lab.tracking import artifacts
from asr_lab.tracking.erasure import locations, logged_comparisons, scrub
from asr_lab.tracking.erasure.audit_record import recorded_names, unfinished_record
from asr_lab.tracking.erasure.identity import Traces, also_called
from asr_lab.tracking.erasure.training_speakers import TrainingSpeakers, read_training_speakers
from asr_lab.tracking.run_index import Record, ids_in, scan
from asr_lab.tracking.store import all_pages
from asr_lab.tracking.tags import CLEANUP, KIND, SPEAKER


@dataclass
class SpeakerData:
    """Data of a speaker."""

    speaker: str
    known_as: set[str]
    """The speaker's names in tables: their name, and the speaker of their own corpora."""
    runs: list[Record] = field(default_factory=list)
    """Of no other speaker: erased."""
    evaluated_with_others: list[Record] = field(default_factory=list)
    """Evaluated on them and others: their rows and pages are erased."""
    compared: list[Record] = field(default_factory=list)
    """Compared with their runs: table, curves and page of the comparison are erased."""
    trained_with_others: list[Record] = field(default_factory=list)
    """Trained on them and others, by the local manifest: listed, and erased on request."""
    versions: list[tuple[str, str]] = field(default_factory=list)
    """(registered model, version)"""
    files: list[Path] = field(default_factory=list)
    bundles: locations.Bundles = field(default_factory=locations.Bundles)
    unshipped_spools: list[Path] = field(default_factory=list)
    """Spools of other runs with data of them: only listed."""
    doubts: list[str] = field(default_factory=list)
    """Sentences on what cannot be determined here."""

    def counts(self) -> dict[str, int]:
        """Return how much is erased, for the erasure record."""
        return {
            "runs": len(self.runs),
            "logged models": sum(len(run.models) for run in self.runs),
            "registered versions": len(self.versions),
            "runs of others with their utterances": len(self.evaluated_with_others),
            "comparisons with their runs": len(self.compared),
            "files and folders": len(self.files),
            "bundles": len(self.bundles.own) + len(self.bundles.others),
        }

    @property
    def traces(self) -> Traces:
        return Traces(self.speaker, self.known_as, self.runs)

    @property
    def is_empty(self) -> bool:
        return not any(self.counts().values()) and not self.unshipped_spools


def find_speaker_data(
    client: MlflowClient,
    speaker: str,
    *,
    bundles: Sequence[str] = (),
    shared_models: bool = False,
    each: Callable[[Sequence[Record]], Iterable[Record]] = iter,
) -> SpeakerData:
    """Find all data of a speaker; changes nothing.

    `bundles` are folders with bundles of erased runs; `each` iterates over the runs, with a progress bar. Raises
    `AsrLabError` if the speaker is unknown.
    """
    record = unfinished_record(client, speaker)
    records = scan(client, deleted=True, deleted_experiments=True)
    looked = {one.run_id: _look_into(one) for one in each(records)}
    tables = {run_id: names for run_id, (names, _) in looked.items()}
    also, shared = also_called(speaker, records, tables)
    data, training = SpeakerData(speaker, {speaker} | also | recorded_names(record)), read_training_speakers(records)
    data.runs = _own(client, data, records, record.info.run_id if record else "")
    _sort(data, records, tables, training, shared_models)
    data.compared = _compared(data, records, {run_id: text for run_id, (_, text) in looked.items()})
    _own_versions(client, data, data.runs)
    data.files = locations.local_files(speaker, data.known_as, data.runs)
    data.unshipped_spools = locations.unshipped_spools(data.traces, data.files)
    others = list({one.run_id: one for one in data.evaluated_with_others + data.compared}.values())
    data.bundles = locations.bundles(data.runs, others, bundles, data.traces)
    data.doubts = _doubts(data, records, training, shared)
    if data.is_empty and not record:
        known = {one.tags[SPEAKER] for one in records if SPEAKER in one.tags} | set(locations.adapter_files())
        known = known.union(*tables.values(), *training.speakers.values()) - {""}
        raise _unknown(speaker, known)
    return data


def _look_into(one: Record) -> tuple[Counter[str], str]:
    """Return (speaker -> rows in the tables of a run, text of its logged comparison)."""
    with (
        artifacts.explain_artifact_errors(f"the tables of {one.name} cannot be read", one.artifact_uri),
        tempfile.TemporaryDirectory() as staging,
    ):
        uri, folder = one.artifact_uri, Path(staging)
        return scrub.count_rows_by_speaker(uri, folder), logged_comparisons.read_comparison(uri, folder)


def _own(client: MlflowClient, data: SpeakerData, records: Sequence[Record], record: str) -> list[Record]:
    """Return the runs tagged or registered as the speaker's, or tagged by an interrupted erasure."""
    _own_versions(client, data, [one for one in records if one.tags.get(SPEAKER) == data.speaker])
    registered = set(_ids_of_versions(client, data))
    return [
        one
        for one in records
        if one.tags.get(SPEAKER) == data.speaker
        or (one.run_id in registered and not _is_of_another(one, data.speaker))
        or (record and record in one.tags.get(CLEANUP, ""))
    ]


def _is_of_another(one: Record, speaker: str) -> bool:
    return one.tags.get(SPEAKER, speaker) != speaker


def _sort(
    data: SpeakerData,
    records: Sequence[Record],
    tables: Mapping[str, Iterable[str]],
    training: TrainingSpeakers,
    shared_models: bool,
) -> None:
    """Sort the other runs: of this speaker only, evaluated on them, trained on them and others."""
    own = {one.run_id for one in data.runs}
    for one in records:
        if one.run_id in own:
            continue
        trained, tested = training.of(one), set(tables[one.run_id])
        only_tested = one.tags.get(KIND) == "evaluate" and _are_they(data, one, tested)
        if only_tested or _are_they(data, one, trained) or (trained & data.known_as and shared_models):
            data.runs.append(one)
            continue
        if trained & data.known_as:
            data.trained_with_others.append(one)
        if tested & data.known_as or set(one.speakers) & {in_a_name(name) for name in data.known_as}:
            data.evaluated_with_others.append(one)


def _are_they(data: SpeakerData, one: Record, trained: set[str]) -> bool:
    """Return whether a run is only of this speaker; other names count unless it is tagged with another speaker."""
    certain = {data.speaker} if _is_of_another(one, data.speaker) else data.known_as
    return bool(trained) and trained <= certain


def _compared(data: SpeakerData, records: Sequence[Record], texts: Mapping[str, str]) -> list[Record]:
    own, traces = {one.run_id for one in data.runs}, data.traces
    return [
        one for one in records if one.run_id not in own and texts[one.run_id] and traces.occur_in(texts[one.run_id])
    ]


def _own_versions(client: MlflowClient, data: SpeakerData, own: Sequence[Record]) -> None:
    """Set the versions of the speaker's registered adapter, and of models from their runs."""
    ids = {id for one in own for id in (one.run_id, *one.models)}
    with artifacts.explain_artifact_errors("the model registry cannot be read"):
        data.versions = [
            (version.name, str(version.version))
            for version in all_pages(client.search_model_versions)
            if version.name == ADAPTER_PREFIX + data.speaker
            or ids & {*ids_in(version.source or ""), version.run_id or ""}
        ]


def _ids_of_versions(client: MlflowClient, data: SpeakerData) -> Iterable[str]:
    for name, version in data.versions:
        with artifacts.explain_artifact_errors("the model registry cannot be read"):
            made = client.get_model_version(name, version)
            yield from ids_in(f"{made.run_id} {made.source}")


def _doubts(data: SpeakerData, records: Sequence[Record], training: TrainingSpeakers, shared: set[str]) -> list[str]:
    doubts = training.doubts({one.run_id for one in data.runs})
    if shared:
        doubts.append(f"{listing(sorted(shared))} may mean {data.speaker} and others too: not taken for them")
    if studies := locations.studies_elsewhere(data.runs):
        doubts.append(
            f"the journals of the sweeps {listing(studies, 6)} are not in sweeps/: where they are kept, they may name "
            f"{data.speaker} (of a database: optuna delete-study)"
        )
    if away := [one.name for one in records if not artifacts.is_reachable(one.artifact_uri)]:
        doubts.append(f"the files of {listing(away, 3)} are out of reach (a disk that is not mounted?): not searched")
    return doubts


def _unknown(speaker: str, known: set[str]) -> AsrLabError:
    near = nearest(speaker, known)
    return AsrLabError(
        f"nothing is known of {speaker!r}" + (f"; did you mean {near!r}?" if near else ""),
        allowed=listing(sorted(known)) or "no speakers yet",
    )
