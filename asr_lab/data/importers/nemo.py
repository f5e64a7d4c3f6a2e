"""Import manifests of NeMo: JSON lines with `audio_filepath`, `text`, `duration` and perhaps `offset`.

As NeMo reads them, a duration without an offset is that of the start of the file. Speakers are in `speaker`, if at all.
Of a tarred data set (`shard_id`, `audio_0.tar`, ...) the recordings are written to `out/audio`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr_lab.data.importers.audio_paths import without_suffix
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.packed_audio import from_tars, shards
from asr_lab.data.importers.source_view import first_object
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.importers.table import read_jsonl
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
_RENAMED = {"audio_filepath": "audio", "lang": "language", "speaker_id": "speaker", "spk_id": "speaker"}
_SUFFIXES = (".json", ".jsonl")


def import_nemo(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a manifest as `all`, or the manifests of a folder by the split in their names.

    Paths are relative to `audio`, by default the folder of the manifest, or else, as in NeMo, the working folder.
    Raises one `AsrLabError` that names every faulty line.
    """
    report = ImportReport()
    files = _files(source)
    splits: dict[str, list[Cut]] = {}
    for part, path in files.items():
        rows = _unpacked([_row(row) for row in read_jsonl(path, report)], path, audio or path.parent, report)
        if not rows and not report.faults:
            raise AsrLabError("the manifest has no lines", where=str(path))
        if rows and not any("audio" in row.values for row in rows):
            raise AsrLabError(
                "no line has audio_filepath",
                where=str(path),
                allowed="lines of JSON with audio_filepath, text, duration",
            )
        paths = [str(row.values.get("audio")) for row in rows]
        speakers = speakers.guessing(paths)
        working = None if audio else Path()
        splits[part] = import_rows(
            rows, path, audio or path.parent, report, progress, speakers=speakers, also_from=working
        )
    report.notes[:] = dict.fromkeys(report.notes)
    is_missing = "no such audio file" in report.counts()
    report.settle(
        source,
        skip_faulty=skip_faulty,
        is_left=any(splits.values()),
        hints=["--audio FOLDER, from which the paths of audio_filepath start"] if is_missing and not audio else [],
    )
    return ImportResult(splits={part: cuts for part, cuts in splits.items() if cuts}, report=report)


def _files(source: Path) -> dict[str, Path]:
    """Return part -> manifest."""
    if source.is_file():
        return {"all": source}
    named: dict[str, list[Path]] = {}
    for path in sorted(path for path in source.iterdir() if path.suffix in _SUFFIXES):
        words = path.stem.lower().replace("-", "_").split("_")
        if part := next((_PARTS[word] for word in words if word in _PARTS), ""):
            named.setdefault(part, []).append(path)
    manifests = [path for path in sorted(source.glob("*.json*")) if "audio_filepath" in first_object(path)]
    if not named and len(manifests) == 1:
        return {"all": manifests[0]}
    if not named or any(len(paths) > 1 for paths in named.values()):
        twice = [path.name for paths in named.values() if len(paths) > 1 for path in paths]
        raise AsrLabError(
            f"several manifests of one split: {', '.join(twice)}" if twice else "no manifest of train, val or test",
            where=str(source),
            allowed="one file with train, one with val or dev, one with test in its name; or a single manifest",
        )
    return {part: paths[0] for part, paths in named.items()}


def _unpacked(rows: list[Row], manifest: Path, folder: Path, report: ImportReport) -> list[Row]:
    """Return the rows of a tarred data set with the recordings taken out of the tars; other rows as they are."""
    of_shards: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        if isinstance(shard := row.values.get("shard_id"), int):
            of_shards[shard].add(str(row.values.get("audio")))
    tars = shards(folder) if of_shards else {}
    if not tars:
        return rows
    written = dict(from_tars(tars, of_shards))
    names = Counter(name for _, name in written)
    found = []
    for row in rows:
        shard, name = row.values.get("shard_id"), str(row.values.get("audio"))
        if isinstance(shard, int) and (path := written.get((shard, name))):
            id = without_suffix(name) if names[name] == 1 else f"{shard}-{without_suffix(name)}"
            found.append(Row(row.line, {"id": id} | row.values | {"audio": str(path)}))
        else:
            tar = str(tars[shard]) if shard in tars else f"shard_id {shard}"
            report.add(name, "it is not in the tar of its shard", tar, file=manifest, line=row.line)
            report.read += 1
    report.notes.append(f"{counted(len(written), 'recording', 'are')} taken out of {counted(len(of_shards), 'tar')}")
    return found


def _row(row: Row) -> Row:
    """Return a line with the names of our columns; a duration alone starts at 0."""
    values: dict[str, Any] = {_RENAMED.get(name, name): value for name, value in row.values.items()}
    if values.get("duration") is not None and values.get("offset") is None:
        values["offset"] = 0.0
    return Row(row.line, values)
