"""Remove speakers from artifacts shared with others: their rows, and pages that show them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from asr_lab.data import text_files
from asr_lab.metrics.catalog import in_a_name
from asr_lab.system.files import atomic_file, write_text
from asr_lab.tracking import artifacts

_COLUMNS = ("speaker", "person")
"""Columns with the speaker of a row."""
_EXAMPLES = "examples.parquet"
"""Validation examples of an interrupted training."""


@dataclass
class Scrubbed:
    """Changed files, relative to the folder."""

    rewritten: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def count_rows_by_speaker(uri: str, staging: Path) -> Counter[str]:
    """Return speaker -> rows in the score tables (`eval/*.parquet`) and validation examples of a run."""
    counts: Counter[str] = Counter()
    with _tables(uri, staging) as paths:
        for path in paths:
            counts.update(count_rows(path))
    return counts


def count_rows(path: Path) -> Counter[str]:
    """Return speaker -> rows of a table; empty if the file is no table."""
    counts: Counter[str] = Counter()
    names = pq.read_schema(path).names if _is_parquet(path) else []
    for column in [name for name in _COLUMNS if name in names]:
        values = pq.read_table(path, columns=[column]).column(column).to_pylist()
        counts.update(str(value) for value in values if value is not None)
    return counts


@contextmanager
def _tables(uri: str, staging: Path) -> Iterator[list[Path]]:
    folder = artifacts.local_folder(uri)
    if folder is None:
        repo = artifacts.repository(uri)
        for item in [*repo.list_artifacts("eval"), *repo.list_artifacts()]:
            if (item.path.startswith("eval/") and item.path.endswith(".parquet")) or item.path == _EXAMPLES:
                repo.download_artifacts(item.path, str(staging))
        folder = staging
    yield sorted([*folder.glob("eval/*.parquet"), *folder.glob(_EXAMPLES)])


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_schema(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def scrub(folder: Path, speakers: Set[str]) -> Scrubbed:
    """Remove the rows of speakers from every table under a folder, and pages and figures that show them.

    Pages with an utterance of theirs, tables without other rows, and logs of what was printed are deleted.
    """
    done, utterances = Scrubbed(), set(speakers)
    for path in sorted(folder.rglob("*.parquet")):
        if not _is_parquet(path):
            continue
        table = pd.read_parquet(path)
        theirs = _rows_of(table, speakers)
        if not theirs.any():
            continue
        utterances |= set(table.loc[theirs, "id"].astype(str)) if "id" in table else set()
        _rewrite(path, table[~theirs], folder, done)
        figure = path.with_suffix(".png")
        if figure.is_file():
            _remove(figure, folder, done)
    for lines in sorted(folder.rglob("*.jsonl")):
        _rewrite_lines(lines, utterances, folder, done)
    for table in sorted(folder.rglob("tables/*.json")):
        _rewrite_shown(table, utterances, folder, done)
    for page in sorted(folder.rglob("*.html")):
        text = page.read_text(encoding="utf-8", errors="replace")
        if any(utterance in text for utterance in utterances):
            _remove(page, folder, done)
    for log in sorted(folder.rglob("console/*.log")):  # it may show examples, without saying whose
        text = log.read_text(encoding="utf-8", errors="replace")
        if done.rewritten or done.removed or any(utterance in text for utterance in utterances):
            _remove(log, folder, done)
    return done


def _rows_of(table: pd.DataFrame, speakers: Set[str]) -> pd.Series:
    theirs = pd.Series(False, index=table.index)
    for column in _COLUMNS:
        if column in table:
            theirs |= table[column].astype(str).isin(speakers)
    for kind in {"slice", "part"} & set(table):
        theirs |= table[kind].isin(_COLUMNS) & table["value"].astype(str).isin(speakers)
    return theirs


def _rewrite_lines(path: Path, utterances: Set[str], folder: Path, done: Scrubbed) -> None:
    """Remove the JSON lines of these utterances and speakers."""
    lines = text_files.lines(path.read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in lines]
    rest = [
        line
        for line, row in zip(lines, rows, strict=True)
        if not {str(row.get(name)) for name in ("id", *_COLUMNS)} & utterances
    ]
    if len(rest) == len(lines):
        return
    if not rest:
        _remove(path, folder, done)
        return
    write_text(path, "\n".join(rest) + "\n")
    done.rewritten.append(path.relative_to(folder).as_posix())


def _rewrite_shown(path: Path, utterances: Set[str], folder: Path, done: Scrubbed) -> None:
    """Remove the rows of these utterances and speakers from a table of `mlflow.log_table`; it stays, if empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return
    if not (isinstance(content, dict) and {"columns", "data"} <= content.keys()):
        return  # a file of somebody else
    named = [place for place, name in enumerate(content["columns"]) if name in ("id", *_COLUMNS)]
    rest = [row for row in content["data"] if not {str(row[place]) for place in named} & utterances]
    if len(rest) < len(content["data"]):
        write_text(path, json.dumps(content | {"data": rest}, ensure_ascii=False))
        done.rewritten.append(path.relative_to(folder).as_posix())


def _rewrite(path: Path, rest: pd.DataFrame, folder: Path, done: Scrubbed) -> None:
    if rest.empty:
        _remove(path, folder, done)
        return
    with atomic_file(path) as written:
        rest.to_parquet(written, index=False)
    done.rewritten.append(path.relative_to(folder).as_posix())


def _remove(path: Path, folder: Path, done: Scrubbed) -> None:
    path.unlink()
    done.removed.append(path.relative_to(folder).as_posix())


def scrub_checkpoints(folder: Path, speakers: Set[str]) -> None:
    """Remove speakers from the validation examples of a run's checkpoints (`examples.json`)."""
    path = folder / "examples.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    rest = [row for row in rows if not {str(row.get(name)) for name in _COLUMNS} & speakers]
    if len(rest) < len(rows):
        write_text(path, json.dumps(rest, ensure_ascii=False))


def scrub_artifacts(uri: str, speakers: Set[str], staging: Path) -> Scrubbed:
    """Apply `scrub` to artifacts, local or remote."""
    with (
        artifacts.local_copy(uri, staging) as folder,
        artifacts.explain_artifact_errors("the artifacts cannot be changed", uri),
    ):
        done = scrub(folder, speakers)
        if artifacts.local_folder(uri) is None:
            repo = artifacts.repository(uri)
            for path in done.rewritten:
                repo.log_artifact(str(folder / path), str(Path(path).parent))
            for path in done.removed:
                repo.delete_artifacts(path)
    return done


def metrics_of(names: Set[str], speakers: Set[str]) -> list[str]:
    """Return the metrics of single speakers among these, such as `test/wer_by_speaker/ann`."""
    endings = tuple(f"_by_speaker/{in_a_name(one)}" for one in speakers)
    return sorted(name for name in names if name.endswith(endings))
