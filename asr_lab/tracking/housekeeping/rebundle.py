"""Bundles searched for a person, and written anew without them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from asr_lab.tracking.housekeeping import archive, bundle, files, scrub
from asr_lab.tracking.housekeeping.records import ARCHIVED


@dataclass(frozen=True)
class Whose:
    """Whom a bundle is about."""

    run_id: str
    speaker: str
    alone: bool
    """It is an evaluation of nobody else."""
    among_others: bool


def whose(location: str, people: Set[str]) -> Whose:
    """Look into a bundle; raises `AsrLabError` when it is not whole."""
    with archive.at_hand(location) as path, tempfile.TemporaryDirectory() as folder:
        about = bundle.extract(path, Path(folder))
        tested = set(scrub.who(str(Path(folder) / "artifacts"), Path(folder)))
        tags = about["tags"]
        return Whose(
            run_id=about["run_id"],
            speaker=tags.get("asr_lab.speaker", ""),
            alone=tags.get("asr_lab.kind") == "evaluate" and bool(tested) and tested <= people,
            among_others=bool(tested & people),
        )


def without(client: MlflowClient, location: str, people: Set[str]) -> None:
    """Write a bundle anew without people, in its place, and tell its run the new checksum."""
    with archive.at_hand(location) as path, tempfile.TemporaryDirectory() as staging:
        folder = Path(staging) / "in"
        folder.mkdir()
        about = bundle.extract(path, folder)
        scrub.scrub(folder / "artifacts", people)
        metrics = pd.read_parquet(folder / bundle.METRICS)
        gone = scrub.metrics_of(set(metrics["key"]), people)
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
        with files.handling("the bundle cannot be stored", location):
            if "://" in location:
                files.repository(location.rpartition("/")[0]).log_artifact(str(target))
        _tell(client, about["run_id"], f"{location}#sha256={bundle.digest(target)}")


def _tell(client: MlflowClient, run_id: str, mark: str) -> None:
    with files.handling(f"the run {run_id} cannot be marked"):
        try:
            if ARCHIVED in client.get_run(run_id).data.tags:
                client.set_tag(run_id, ARCHIVED, mark)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
