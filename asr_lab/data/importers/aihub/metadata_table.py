"""The metadata table of an AI-Hub corpus: selects recordings and has values for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr_lab.data import text_files
from asr_lab.data.importers.aihub.folders import Location, location, split_of, split_of_location
from asr_lab.data.importers.aihub.labels import value_of, values_of
from asr_lab.data.importers.aihub.pairs import Endings, all_same, preferred
from asr_lab.errors import AsrLabError, listing

TABLES = ("subset_metadata_with_test.csv", "subset_metadata.csv")

Row = Mapping[str, Any]


def read_table(source: Path) -> dict[Location, Row] | None:
    """Return location -> row of the table; None if there is no table."""
    path = next((source / name for name in TABLES if (source / name).is_file()), None)
    if path is None:
        return None
    rows = _rows(path)
    named = _named(rows)
    if len(named) < len(rows):
        raise AsrLabError(
            f"{len(rows) - len(named)} of {len(rows)} rows name no utterance, or a duplicate one",
            where=str(path),
            allowed=f"a column with the file or the utterance's id; found: {listing(rows[0], 30) if rows else '-'}",
        )
    return named


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows; raises `AsrLabError` if one has more cells than there are columns."""
    rows = text_files.read_table(path)
    if longer := [row.line for row in rows if None in row.values]:
        raise AsrLabError(
            f"lines with more cells than columns: {listing(longer, 6)}",
            where=str(path),
            hint='a text with a comma needs quotes: "well, yes"',
        )
    columns = dict.fromkeys(str(name) for row in rows[:1] for name in row.values)
    return [dict.fromkeys(columns, "") | row.values for row in rows]


def _named(rows: Sequence[Row]) -> dict[Location, Row]:
    locations = [_location(row) for row in rows]
    count = Counter(locations)
    named: dict[Location, Row] = {}
    for where, row in zip(locations, rows, strict=True):
        speaker = value_of(row, "speaker")
        named[(speaker, *where) if count[where] > 1 and speaker else where] = row  # 0000.wav of each speaker
    return {where: row for where, row in named.items() if where[-1]}


def _location(row: Row) -> Location:
    """Return the location of a row, from the column with the longest path."""
    locations = [location(text) for text in values_of(row, "file")]
    same = [one for one in locations if one[-1] == locations[0][-1]]
    return max(same, key=len, default=("",))


def recordings_of(
    table: Mapping[Location, Row], audio: Mapping[Path, Location]
) -> tuple[dict[Path, Row], list[tuple[str, AsrLabError]]]:
    """Return (recording -> row, (name, fault) of rows without a recording); more exact rows take precedence."""
    endings = Endings(audio)
    matches = {where: endings.like(where) for where in table}
    row_by_recording: dict[Path, Row] = {}
    faults = []
    for where in sorted(table, key=lambda where: -matches[where][1]):
        paths = _narrowed(matches[where][0], table[where], audio)
        if len(paths) > 1 and not all_same(paths):
            ambiguous = AsrLabError("the table's row may mean several recordings", where=listing(paths, 4))
            faults.append(("/".join(where), ambiguous))
        elif not paths or (best := preferred(paths, audio)[0]) in row_by_recording:
            faults.append(("/".join(where), AsrLabError("in the table, but there is no such recording")))
        else:
            row_by_recording[best] = table[where]
    return row_by_recording, faults


def _narrowed(paths: list[Path], row: Row, audio: Mapping[Path, Location]) -> list[Path]:
    """Narrow several recordings to those in a folder of the row's speaker, and in its split, if any."""
    speaker, split = value_of(row, "speaker"), split_of(value_of(row, "split"))
    if len(paths) > 1:
        paths = [path for path in paths if speaker in audio[path][:-1]] or paths
        paths = [path for path in paths if split_of_location(audio[path]) == split] or paths
    return paths
