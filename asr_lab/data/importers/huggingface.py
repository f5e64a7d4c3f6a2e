"""Import data of Hugging Face without `datasets`: audio folders, parquet files, and what `save_to_disk` writes.

audio folder   metadata.csv or metadata.jsonl with `file_name`, in the folder or in each of its splits
parquet        data/train-00000-of-00002.parquet, with the bytes of the audio, or paths
save_to_disk   train/data-00000-of-00001.arrow, state.json, dataset_info.json
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import soundfile
from lhotse.cut import Cut

from asr_lab.data.containers import HEAD_BYTES, LFS_HINT, LFS_POINTER, kind_of
from asr_lab.data.importers.audio_paths import AudioPaths, without_suffix
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.importers.table import read_jsonl, renamed
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.media import written_audio
from asr_lab.data.text_files import Row, read_table
from asr_lab.errors import AsrLabError, listing

TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_TEXTS = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription", "raw_text")
_SPEAKERS = ("speaker_id", "client_id", "speakerid", "spk_id", "speaker")
_PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
_SUFFIX = {"WAV": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg", "MP4 (m4a)": ".m4a", "WebM": ".webm"}
_LAYOUT = (
    "a folder with metadata.csv or metadata.jsonl (file_name, transcription), with *.parquet, or of save_to_disk "
    "(dataset_info.json, *.arrow); or one such file"
)
_ROWS_AT_ONCE = 64
_STEM = "asr_lab.stem"


def import_huggingface(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str] | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the splits of a data set, or `all`; embedded audio is written to `out/audio` as it is.

    `keys` names the columns of fields whose names are not usual. Raises one `AsrLabError` that names every faulty row.
    """
    report = ImportReport()
    splits: dict[str, list[Cut]] = defaultdict(list)
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for part, file in _sets(source):
        rows = _with_ids(_rows(file, part, written[part], report))
        if not rows and report.faults:
            continue
        rows = renamed(rows, _columns(rows, keys or {}, file), file)
        paths = [str(row.values.get("audio")) for row in rows]
        speakers = speakers.guessing(paths)
        splits[part] += import_rows(
            rows, file, file.parent, report, progress, corpus=source.resolve().stem, speakers=speakers
        )
    report.notes[:] = dict.fromkeys(report.notes)
    report.settle(source, skip_faulty=skip_faulty, is_left=any(splits.values()))
    if not any(splits.values()):
        raise AsrLabError("the data set has no rows", where=str(source))
    return ImportResult(splits={part: cuts for part, cuts in _by_folder(splits).items() if cuts}, report=report)


def _sets(source: Path) -> list[tuple[str, Path]]:
    """Return (split, file) of a data set: tables of audio folders, parquet files, Arrow files."""
    if source.is_file():
        return [("all", source)]
    tables = [path for name in TABLES for path in _below(source, name)]
    arrow = [path for path in _below(source, "*.arrow") if not path.name.startswith("cache-")]
    if not (files := tables or _below(source, "*.parquet") or arrow):
        raise AsrLabError("no data set of Hugging Face", where=str(source), allowed=_LAYOUT)
    return [(_part(path, source), path) for path in files]


def _below(source: Path, pattern: str) -> list[Path]:
    """Return the files of these names, but for those in hidden folders: caches, the tables of manifests."""
    found = sorted(source.rglob(pattern))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(source).parts)]


def _part(path: Path, source: Path) -> str:
    """Return the split of a file by its name, `train-00000-of-00002.parquet`, or a folder, else `all`."""
    own = [] if path.name in TABLES else re.split(r"[-._]", path.stem.lower())
    names = [*own[::-1], *(name.lower() for name in path.relative_to(source).parts[-2::-1])]
    return next((_PARTS[name] for name in names if name in _PARTS), "all")


def _by_folder(splits: Mapping[str, Sequence[Cut]]) -> dict[str, list[Cut]]:
    """Return the utterances by split; those of one table for all splits are split by the folders of their audio."""
    if set(splits) != {"all"}:
        return {part: list(cuts) for part, cuts in splits.items()}
    of: dict[str, list[Cut]] = defaultdict(list)
    for cut in splits["all"]:
        folders = [name.lower() for name in Path(str(cut.recording.sources[0].source)).parts[-3:-1]]
        of[next((_PARTS[name] for name in reversed(folders) if name in _PARTS), "all")].append(cut)
    return dict(of) if "all" not in of else {"all": list(splits["all"])}


def _columns(rows: Sequence[Row], keys: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return field -> column, as given or by the usual names; raises `AsrLabError` if it is not clear."""
    columns = list(dict.fromkeys(str(name) for row in rows for name in row.values if name is not None))
    chosen = dict(keys)
    if "audio" not in chosen and "audio" not in columns:
        chosen |= {"audio": "file_name"} if "file_name" in columns else {}
    if "speaker" not in chosen and (named := [name for name in _SPEAKERS if name in columns]):
        chosen["speaker"] = named[0]
    if "text" not in chosen:
        texts = [name for name in _TEXTS if name in columns]
        if len(texts) != 1:
            what = f"several columns may be the text: {listing(texts)}" if texts else "no column of the text"
            raise AsrLabError(
                what,
                where=str(file),
                allowed=f"--columns text=COLUMN; the table has {listing(columns, 30)}",
                hint="two tables of one data set have the same columns" if not rows else "",
            )
        chosen["text"] = texts[0]
    if "audio" not in chosen and "audio" not in columns:
        raise AsrLabError(
            "no column of the audio",
            where=str(file),
            allowed=f"audio or file_name, or --columns audio=COLUMN; {listing(columns, 30)}",
        )
    return {field: column for field, column in chosen.items() if field != column}


def _rows(file: Path, part: str, written: Counter[str], report: ImportReport) -> list[Row]:
    """Return the rows of a file; audio that is embedded is written, and the row names the file.

    `written` counts the names of what is written for the split.
    """
    if file.suffix == ".csv":
        return read_table(file, report.notes)
    if file.suffix in (".jsonl", ".json"):
        return read_jsonl(file, report)
    rows = []
    for number, values in enumerate(_records(file), start=1):
        try:
            row: dict[str, Any] = {}
            for name, value in values.items():
                row[name], stem = value, ""
                if isinstance(value, bytes) and kind_of(value[:HEAD_BYTES]) in _SUFFIX:
                    row[name], stem = _audio({"bytes": value}, file, part, written)
                elif isinstance(value, dict) and {"bytes", "array"} & set(value):
                    row[name], stem = _audio(value, file, part, written)
                elif isinstance(value, bytes):
                    raise AsrLabError(f"bytes that are no audio file: {name}", allowed="WAV, FLAC, OGG, MP3, M4A, WebM")
                row |= {_STEM: stem} if stem and (name == "audio" or _STEM not in row) else {}
            rows.append(Row(number, row))
        except AsrLabError as error:
            item = Path(error.where).name or f"row {number}"
            report.add_error(item, error, file=file, line=number)
            report.read += 1
    return rows


def _with_ids(rows: list[Row]) -> list[Row]:
    """Return the rows with ids of their own: those of a column `id` if no two are the same, else of the audio."""
    ids = [row.values.get("id") for row in rows]
    are_ids = None not in ids and len(set(map(str, ids))) == len(ids)
    complete = []
    for row in rows:
        values = {("id_column" if name == "id" and not are_ids else name): value for name, value in row.values.items()}
        stem = values.pop(_STEM, "")
        complete.append(Row(row.line, values | ({"id": stem} if stem and not are_ids else {})))
    return complete


def _records(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a parquet or an Arrow file, a few at a time."""
    try:
        with ExitStack() as stack:
            if file.suffix == ".parquet":
                opened = stack.enter_context(pyarrow.parquet.ParquetFile(file))
                batches = opened.iter_batches(_ROWS_AT_ONCE)
            else:
                batches = _arrow_batches(stack.enter_context(pyarrow.memory_map(str(file))))
            for batch in batches:
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    yield from batch.slice(start, _ROWS_AT_ONCE).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        with file.open("rb") as opened:
            kind = kind_of(opened.read(HEAD_BYTES))
        what = f"not the file, but {kind}" if kind else f"not a file of that kind, or cut off: {error}"
        hint = LFS_HINT if kind == LFS_POINTER else ""
        raise AsrLabError(what, where=str(file), allowed=_LAYOUT, hint=hint) from error


def _arrow_batches(opened: Any) -> Iterator[Any]:
    """Yield the batches of an Arrow stream, as datasets writes it, or an Arrow file."""
    try:
        yield from pyarrow.ipc.open_stream(opened)
    except pyarrow.ArrowInvalid:
        reader = pyarrow.ipc.open_file(opened)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))


def _audio(value: Mapping[str, Any], file: Path, part: str, written: Counter[str]) -> tuple[str, str]:
    """Return (path, name) of audio: `{"bytes": ..., "path": ...}`, also with `array` and `sampling_rate`.

    Bytes are written as they are, numbers as FLAC.
    """
    content, array, path = value.get("bytes"), value.get("array"), str(value.get("path") or "")
    if array and not value.get("sampling_rate"):
        raise AsrLabError("samples without their sampling_rate", allowed="array and sampling_rate, or bytes")
    if not content and not array:
        if not path:
            raise AsrLabError("neither audio nor a path of it in the row")
        parts = [part for part in PurePosixPath(without_suffix(path)).parts if part not in ("/", ".", "..")]
        return str(AudioPaths(file.parent, Path()).find(path).absolute()), "-".join(parts)
    stem = normalize("NFC", without_suffix(PurePosixPath(path.replace("\\", "/")).name)) or part
    written[stem] += 1
    stem = f"{stem}-{written[stem]:06}" if written[stem] > 1 or not path else stem
    kind = kind_of(content[:HEAD_BYTES]) if content else "FLAC"
    target = written_audio().target(f"{part}/{stem}{_SUFFIX.get(kind, PurePosixPath(path).suffix or '.bin')}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if content:
        target.write_bytes(content)
    else:
        soundfile.write(target, np.asarray(array, np.float32), int(value.get("sampling_rate") or 0))
    return str(target.absolute()), stem
