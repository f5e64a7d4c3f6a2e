"""Inspect bundles, and rewrite them without a speaker."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from asr_lab.tracking import artifacts
from asr_lab.tracking.archive import archive, bundle
from asr_lab.tracking.erasure import logged_comparisons, scrub
from asr_lab.tracking.erasure.identity import Traces
from asr_lab.tracking.tags import ARCHIVED, KIND, SPEAKER


@dataclass(frozen=True)
class BundleContent:
    """Speakers of a bundle."""

    run_id: str
    speaker: str
    alone: bool
    """It is an evaluation on no other speaker."""
    evaluated_with_others: bool


def inspect_bundle(location: str, traces: Traces) -> BundleContent:
    """Inspect a bundle; raises `AsrLabError` if it is invalid."""
    with archive.local_copy(location) as path, tempfile.TemporaryDirectory() as folder:
        about = bundle.extract(path, Path(folder))
        artifacts = Path(folder) / "artifacts"
        tested, tags = set(scrub.count_rows_by_speaker(str(artifacts), artifacts)), about["tags"]
        compared = logged_comparisons.read_comparison(str(artifacts), artifacts)
        return BundleContent(
            run_id=about["run_id"],
            speaker=tags.get(SPEAKER, ""),
            alone=tags.get(KIND) == "evaluate" and bool(tested) and tested <= traces.known_as,
            evaluated_with_others=bool(tested & traces.known_as) or traces.occur_in(compared),
        )


def rewrite_without(client: MlflowClient, location: str, traces: Traces) -> None:
    """Rewrite a bundle in place without a speaker, and update the checksum of its run."""
    with archive.local_copy(location) as path, tempfile.TemporaryDirectory() as staging:
        folder = Path(staging) / "in"
        folder.mkdir()
        about = bundle.extract(path, folder)
        scrub.scrub(folder / "artifacts", traces.known_as)
        if traces.occur_in(logged_comparisons.read_comparison(str(folder / "artifacts"), folder)):
            artifacts.remove(folder / "artifacts" / logged_comparisons.FOLDER)
        metrics = pd.read_parquet(folder / bundle.METRICS)
        gone = scrub.metrics_of(set(metrics["key"]), traces.known_as)
        metrics[~metrics["key"].isin(gone)].to_parquet(folder / bundle.METRICS, index=False)
        about["metrics"] = [name for name in about["metrics"] if name not in gone]
        for file in folder.glob("models/*/model.json"):
            model = json.loads(file.read_text())
            model["metrics"] = [one for one in model["metrics"] if one["key"] not in gone]
            file.write_text(json.dumps(model, indent=1))
        target = path if "://" not in location else Path(staging) / path.name
        with bundle.writing(target) as writer:
            writer.add(bundle.RUN, json.dumps(about, indent=1, ensure_ascii=False).encode())
            for member in sorted(folder.rglob("*")):
                if member.is_file() and member.name not in (bundle.RUN, bundle.MANIFEST):
                    writer.add(member.relative_to(folder).as_posix(), member)
        bundle.verify(target)
        with artifacts.explain_artifact_errors("the bundle cannot be stored", location):
            if "://" in location:
                artifacts.repository(location.rpartition("/")[0]).log_artifact(str(target))
        _update_checksum(client, about["run_id"], location, bundle.digest(target))


def _update_checksum(client: MlflowClient, run_id: str, location: str, digest: str) -> None:
    """Update the tag of an archived run if it refers to this bundle, or to one that no longer exists."""
    with artifacts.explain_artifact_errors(f"the run {run_id} cannot be marked"):
        try:
            run = client.get_run(run_id)
            marked = archive.parse_mark(run.data.tags.get(ARCHIVED, ""))[0]
            if (
                run.info.lifecycle_stage == "active"
                and marked
                and (marked == location or not archive.bundle_exists(marked))
            ):
                client.set_tag(run_id, ARCHIVED, archive.format_mark(location, digest))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
