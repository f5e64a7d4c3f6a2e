"""Find out whether the figures of a study still stand: its settings, its data, the pages that quote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_lab.config import identity
from asr_lab.config.dotted import nest
from asr_lab.config.load import validate
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError
from asr_lab.families import FAMILIES, config_class
from asr_lab.reports.studies import RecordedRun, Study, quotes, results_page
from asr_lab.tracking.results.record import content_digest

PAGE = "RESULTS.md"
NO_KEY = "no such key"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was compared with what a study recorded."""

    study: str
    what: str
    then: str
    now: str

    @property
    def is_stale(self) -> bool:
        return self.then != self.now


def check_settings(name: str, study: Study, checkout: Path) -> Iterator[Finding]:
    """Compare what each run was configured by with the code as it is: keys, defaults, and the files that set them."""
    for label, run in study.runs.items():
        now = _settings_now(run)
        if isinstance(now, str):
            yield Finding(study=name, what=f"settings of {label}", then="valid", now=now)
            continue
        for key, value in {**run.defaults, **run.settings}.items():
            value_now = str(now[key]) if key in now else NO_KEY
            yield Finding(study=name, what=f"{key} of {label}", then=str(value), now=value_now)
    for path, digest in study.files.items():
        file = checkout / path
        now_set = content_digest(file) if file.is_file() else "no such file"
        yield Finding(study=name, what=path, then=digest, now=now_set)


def _settings_now(run: RecordedRun) -> dict[str, Any] | str:
    """Return all values that a run's settings have with today's defaults, or why they are refused."""
    if run.recipe not in FAMILIES:
        return f"no recipe {run.recipe!r}"
    try:
        return identity.flat(validate(config_class(run.recipe), nest({"recipe": run.recipe, **run.settings}), run.name))
    except AsrLabError as error:
        return error.what


def check_data(name: str, study: Study, folder: Path) -> Iterator[Finding]:
    """Compare the digest of each manifest of the study with the one that was made again in `folder`."""
    for path, digest in manifests(study).items():
        yield Finding(study=name, what=path, then=digest, now=_digest(folder / path))


def manifests(study: Study) -> dict[str, str]:
    """Return path -> digest of the manifests of a study's runs."""
    used = (dataset for run in study.runs.values() for dataset in run.data.values())
    return {dataset.path: dataset.digest for dataset in used if dataset.path.endswith((".jsonl.gz", ".jsonl"))}


def _digest(path: Path) -> str:
    try:
        return Utterances.read(path).digest()
    except AsrLabError as error:
        return error.what


def check_pages(folder: Path, studies: Mapping[str, Study]) -> Iterator[Finding]:
    """Compare the page of results and the quoting lines of other pages with what the studies say.

    Pages are named from the folder above that of the results' page, as the README of a checkout is.
    """
    made, root = results_page(folder, studies), folder.parent.parent
    stands = _text(folder.parent / PAGE)
    yield Finding(study="", what=PAGE, then="as made", now="as made" if stands == made else "another text")
    for page, lines in quotes(folder, studies).items():
        text = _text(root / page)
        for line in lines:
            yield Finding(study="", what=page, then=line, now=line if line in text else "not there")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
