"""Which columns of a table are audio, text and speaker, and the folder that its audio paths start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from asr_lab.data.importers.audio_paths import AudioPaths
from asr_lab.data.importers.hints import other_fields, proposed
from asr_lab.data.importers.source_view import first_lines
from asr_lab.data.text_files import json_rows, read_table
from asr_lab.errors import AsrLabError

FIELDS = ("audio", "text", "speaker")
_SAMPLE = 30  # values of a column that are looked for
_MOST_ROWS = 2000
_MOST_FOLDERS = 300
_SHARE = 0.5  # of the sample that must be files


def table_settings(table: Path) -> dict[str, Any]:
    """Return the options by which a table is imported: `keys` (field -> column), and `audio` if paths need a folder.

    Only what is unambiguous is named: a field of which no column has the name and the values is left out.
    """
    rows = _sample(table)
    columns = dict.fromkeys(str(name) for row in rows for name in row if name is not None)
    lacking = [field for field in FIELDS if field not in columns]
    keys = proposed(rows, lacking, taken=FIELDS)
    folder: Path | None = None
    if "audio" not in lacking or "audio" in keys:
        folder = audio_root(table.parent, _values(rows, keys.get("audio", "audio")))
    else:
        free = (column for column in columns if column not in keys.values())
        roots = {column: root for column in free if (root := audio_root(table.parent, _values(rows, column)))}
        if len(roots) == 1:
            ((column, folder),) = roots.items()
            keys = {"audio": column} | keys
    keys |= other_fields(name for name in columns if name not in keys.values())
    settings: dict[str, Any] = {"keys": {field: keys[field] for field in sorted(keys, key=_order)}} if keys else {}
    return settings | ({"audio": folder} if folder and folder != table.parent else {})


def _order(field: str) -> tuple[int, str]:
    return (FIELDS.index(field) if field in FIELDS else len(FIELDS), field)


def _sample(table: Path) -> list[dict[str, Any]]:
    """Return some rows, [] for what is no table."""
    if table.suffix in (".jsonl", ".json", ".ndjson", ".list"):
        text = "\n".join(first_lines(table, _MOST_ROWS))
        return [row for _, row in json_rows(text) if isinstance(row, dict)]
    try:
        return [row.values for row in read_table(table)[:_MOST_ROWS]]
    except AsrLabError:
        return []


def _values(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    values = (row.get(column) for row in rows)
    return list(islice((value.strip() for value in values if isinstance(value, str) and value.strip()), _SAMPLE))


def audio_root(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the folder, within two levels of `folder`, from which most of the names are files; None if none is."""
    if not names:
        return None
    for candidate in islice(_folders(folder), _MOST_FOLDERS):
        if _are_files(AudioPaths(candidate), names):
            return candidate
    return folder if _are_files(AudioPaths(folder, searches=True), names) else None


def _are_files(paths: AudioPaths, names: Sequence[str]) -> bool:
    """Return whether most of the names are those of files."""
    return sum(_is_file(paths, name) for name in names) >= _SHARE * len(names)


def _is_file(paths: AudioPaths, name: str) -> bool:
    try:
        return bool(paths.find(name))
    except (AsrLabError, OSError):
        return False


def _folders(folder: Path) -> Iterator[Path]:
    yield folder
    for pattern in ("*/", "*/*/"):
        yield from (one for one in sorted(folder.glob(pattern)) if not one.name.startswith("."))
