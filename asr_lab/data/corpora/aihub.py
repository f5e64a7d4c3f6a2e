"""Corpora as AI-Hub has them: WAV files, a JSON label for each, in `1.Training`, `2.Validation` and `3.Test`.

A table beside the folders (`subset_metadata_with_test.csv`, else `subset_metadata.csv`) may say for each utterance its
speaker, age, SNR and split: then its rows are what is imported, and what it says goes before labels and folders.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.corpora.labels import age_of, found, gender_of, lacking, read_label, snr_of
from asr_lab.errors import AsrLabError, listing

TABLES = ("subset_metadata_with_test.csv", "subset_metadata.csv")
SPLITS = {"train": r"train(ing)?", "val": r"val(id(ation)?)?|dev", "test": r"test|eval"}
_AUDIO = (".wav", ".flac", ".pcm")
_MOST_FAULTS = 20

Progress = Callable[[int, int], None]


@dataclass
class _Files:
    """The audio and the labels under a folder, by the name without suffix."""

    root: Path
    audio: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def read(self) -> None:
        for path in sorted(self.root.rglob("*")):
            suffix = path.suffix.lower()
            if suffix in _AUDIO or suffix == ".json":
                held = self.audio if suffix in _AUDIO else self.labels
                first = held.setdefault(path.stem, path)
                if first is not path:
                    self.faults.append(f"{path.stem}: two files of that name: {first} and {path}")


def import_aihub(
    source: Path, *, keys: Mapping[str, str] | None = None, progress: Progress | None = None
) -> tuple[dict[str, list[Cut]], list[str]]:
    """(Utterances by split as they lie, notes on what was found); without splits all are in `all`.

    `keys` names the key of a field (`text`, `speaker`, `age`, `gender`, `snr_db`) where it is called otherwise.
    Raises one `AsrLabError` that names every fault.
    """
    if not source.is_dir():
        raise AsrLabError("not a folder", where=str(source), allowed="a folder with WAV files and their JSON labels")
    files, table = _Files(source), _table(source)
    files.read()
    if not files.audio:
        raise AsrLabError("no audio files", where=str(source), allowed=f"files that end in {', '.join(_AUDIO)}")
    wanted = sorted(table) if table else sorted(files.audio)
    parts: dict[str, list[Cut]] = defaultdict(list)
    moved = 0
    for done, name in enumerate(wanted, start=1):
        try:
            cut, split = _utterance(name, files, table.get(name, {}), keys or {})
            folder = _split_of_folder(files.audio[name], source)
            moved += folder not in ("all", split)
            parts[split].append(cut)
        except AsrLabError as error:
            faults = f"{name}: {error.what}" + (f" ({error.where})" if error.where else "")
            files.faults.append(faults + (f"; {error.allowed}" if error.allowed and not files.faults else ""))
        if progress:
            progress(done, len(wanted))
    _refuse(files.faults, source)
    return {name: parts[name] for name in ("train", "val", "test", "all") if name in parts}, _notes(
        files, wanted, table, moved
    )


def _notes(files: _Files, wanted: list[str], table: Mapping[str, Any], moved: int) -> list[str]:
    unheard = len(set(files.labels) - set(files.audio))
    left = len(files.audio) - len(wanted)
    notes = [f"{unheard} labels have no audio: left out"] if unheard else []
    notes += [f"{left} recordings are not in the table: left out"] if table and left else []
    return notes + ([f"{moved} utterances lie in the folder of another split: the table counts"] if moved else [])


def _utterance(name: str, files: _Files, row: Mapping[str, Any], keys: Mapping[str, str]) -> tuple[Cut, str]:
    if name not in files.audio:
        raise AsrLabError("in the table, but there is no such recording")
    if name not in files.labels:
        raise AsrLabError("there is no label", where=f"{name}.json")
    label = read_label(files.labels[name])
    told = {key: found(row, key) or found(label, key, keys) for key in ("speaker", "age", "gender", "snr_db")}
    text = found(label, "text", keys)
    for key, value in (("text", text), ("speaker", told["speaker"])):
        if not value:
            raise lacking(key, label, files.labels[name])
    cut = manifest.utterance(
        id=name,
        audio=files.audio[name],
        text=text,
        speaker=told["speaker"],
        gender=gender_of(told["gender"]),
        language="ko",
        corpus="aihub",
        **age_of(told["age"]),
        **snr_of(told["snr_db"]),
    )
    split = found(row, "split")
    return cut, _split_named(split) if split else _split_of_folder(files.audio[name], files.root)


def _split_of_folder(path: Path, root: Path) -> str:
    """The split a file lies in, by the names of its folders under the corpus: `1.Training` is train."""
    for folder in path.relative_to(root).parts[:-1]:
        for split, pattern in SPLITS.items():
            if re.fullmatch(rf"\d*[._ -]*({pattern})([._ -].*)?", folder, flags=re.IGNORECASE):
                return split
    return "all"


def _split_named(name: str) -> str:
    for split, pattern in SPLITS.items():
        if re.fullmatch(rf"\d*[._ -]*({pattern})([._ -].*)?", name, flags=re.IGNORECASE):
            return split
    raise AsrLabError(f"the table's split {name!r} is not known", allowed="train, val or test, by any usual name")


def _table(source: Path) -> dict[str, dict[str, Any]]:
    """Name of an utterance -> its row of the table; empty where there is no table."""
    path = next((source / name for name in TABLES if (source / name).is_file()), None)
    if path is None:
        return {}
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig").to_dict("records")
    except (ValueError, pd.errors.ParserError) as error:
        raise AsrLabError(f"the table cannot be read: {error}", where=str(path), hint="save it as UTF-8") from error
    named = {Path(found(row, "file").replace("\\", "/")).stem: {str(k): v for k, v in row.items()} for row in rows}
    named.pop("", None)
    if len(named) < len(rows):
        raise AsrLabError(
            f"{len(rows) - len(named)} of {len(rows)} rows name no utterance, or one a second time",
            where=str(path),
            allowed=f"a column with the file or the utterance's id; found: {listing(rows[0], 30) if rows else '-'}",
        )
    return named


def _refuse(faults: list[str], source: Path) -> None:
    if faults:
        more = f"\n    and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise AsrLabError(
            f"{len(faults)} faults, nothing was imported:\n    " + "\n    ".join(faults[:_MOST_FAULTS]) + more,
            where=str(source),
            hint="--keys text=KEY,speaker=KEY names keys of the labels",
        )
