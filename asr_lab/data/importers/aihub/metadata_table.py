"""The table beside the folders of an AI-Hub corpus: which recordings count, and the values it has for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asr_lab.data.importers.aihub.folders import Place, place, split_lain_in, split_of
from asr_lab.data.importers.aihub.labels import value_of, values_of
from asr_lab.data.importers.aihub.pairs import Endings, all_same, preferred
from asr_lab.errors import AsrLabError, listing

TABLES = ("subset_metadata_with_test.csv", "subset_metadata.csv")

Row = Mapping[str, Any]


def read_table(source: Path) -> dict[Place, Row] | None:
    """Place that a row names -> the row; None where there is no table."""
    path = next((source / name for name in TABLES if (source / name).is_file()), None)
    if path is None:
        return None
    rows = _rows(path)
    named = _named(rows)
    if len(named) < len(rows):
        raise AsrLabError(
            f"{len(rows) - len(named)} of {len(rows)} rows name no utterance, or one a second time",
            where=str(path),
            allowed=f"a column with the file or the utterance's id; found: {listing(rows[0], 30) if rows else '-'}",
        )
    return named


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows, of UTF-8 or as Excel saves Korean (cp949)."""
    for encoding in ("utf-8-sig", "cp949"):
        try:
            rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding=encoding).to_dict("records")
            return [{str(key): value for key, value in row.items()} for row in rows]
        except UnicodeDecodeError as error:
            fault: Exception = error
        except ValueError as error:
            fault = error
            break
    raise AsrLabError(f"the table cannot be read: {fault}", where=str(path), hint="save it as CSV in UTF-8") from fault


def _named(rows: Sequence[Row]) -> dict[Place, Row]:
    places = [_place(row) for row in rows]
    count = Counter(places)
    named: dict[Place, Row] = {}
    for where, row in zip(places, rows, strict=True):
        speaker = value_of(row, "speaker")
        named[(speaker, *where) if count[where] > 1 and speaker else where] = row  # 0000.wav of each speaker
    return {where: row for where, row in named.items() if where[-1]}


def _place(row: Row) -> Place:
    """The place a row names: that of the column that says most of where the file is."""
    places = [place(text) for text in values_of(row, "file")]
    same = [one for one in places if one[-1] == places[0][-1]]
    return max(same, key=len, default=("",))


def recordings_of(
    table: Mapping[Place, Row], audio: Mapping[Path, Place]
) -> tuple[dict[Path, Row], list[tuple[str, AsrLabError]]]:
    """(Recording -> its row, (name, fault) of rows without one); of two rows the one that says it exactly has it."""
    endings = Endings(audio)
    meant = {where: endings.like(where) for where in table}
    held: dict[Path, Row] = {}
    faults = []
    for where in sorted(table, key=lambda where: -meant[where][1]):
        paths = _narrowed(meant[where][0], table[where], audio)
        if len(paths) > 1 and not all_same(paths):
            several = AsrLabError("the table's row may mean several recordings", where=listing(paths, 4))
            faults.append(("/".join(where), several))
        elif not paths or (best := preferred(paths, audio)[0]) in held:
            faults.append(("/".join(where), AsrLabError("in the table, but there is no such recording")))
        else:
            held[best] = table[where]
    return held, faults


def _narrowed(paths: list[Path], row: Row, audio: Mapping[Path, Place]) -> list[Path]:
    """Of several recordings those in a folder of the row's speaker, and those in its split, where there are such."""
    speaker, split = value_of(row, "speaker"), split_of(value_of(row, "split"))
    if len(paths) > 1:
        paths = [path for path in paths if speaker in audio[path][:-1]] or paths
        paths = [path for path in paths if split_lain_in(audio[path]) == split] or paths
    return paths
