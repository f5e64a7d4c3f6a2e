"""Columns of utterances: from the table of their manifest, or from cuts in memory.

What works on columns builds no cut. N utterances have N values, in their order.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from asr_lab.data.audio_places import absolute
from asr_lab.data.identity import OWN
from asr_lab.data.manifest_table import connect
from asr_lab.data.table_utterances import Positions, Utterances

if TYPE_CHECKING:
    from lhotse.cut import Cut

_AT_ONCE = 50_000
_TIMES = "round(start * 10000)::BIGINT, round(duration * 10000)::BIGINT, channel"
_HASHES = (
    "hash(id, coalesce(speaker, 'None'), coalesce(text, '')) AS text, "
    f"CASE WHEN digest IS NULL OR digest = '' THEN 0 ELSE hash('digest', digest, {_TIMES}) END::UBIGINT AS digest, "
    f"CASE WHEN audio IS NULL THEN 0 ELSE hash('file', audio, {_TIMES}) END::UBIGINT AS audio"
)
_RECORDING = "hash(coalesce(nullif(digest, ''), audio)) AS recording"


@dataclass(frozen=True)
class Factor:
    """A column as distinct values, and for each utterance the place of its own among them."""

    values: list[Any]
    codes: npt.NDArray[np.int64]
    """(N,); -1: it has none."""

    def of_each(self, function: Callable[[Any], Any]) -> npt.NDArray[Any]:
        """Return a function of each value (N,), computed once for each distinct one; None where there is none."""
        made = np.empty(len(self.values) + 1, dtype=object)
        made[:-1] = [function(value) for value in self.values]
        made[-1] = function(None)
        return made[self.codes]


def backing(cuts: Iterable[Cut]) -> Utterances | None:
    """Return the table's utterances that a cut set wraps; None for cuts in memory."""
    inner = getattr(cuts, "cuts", cuts)
    return inner if isinstance(inner, Utterances) else None


def indexed(cuts: Iterable[Cut]) -> Sequence[Cut]:
    """Return utterances that can be indexed by position: those of a table, or a list."""
    rows = backing(cuts)
    if rows is not None:
        return rows
    inner = getattr(cuts, "cuts", cuts)
    return inner if isinstance(inner, list) else list(cuts)


def take(cuts: Any, positions: npt.ArrayLike) -> Any:
    """Return the utterances at these positions, in their order: a CutSet of a CutSet, a list of a list."""
    places = np.asarray(positions, dtype=np.int64)
    rows = backing(cuts)
    if rows is not None:
        part = rows.take(places)
        return part if rows is cuts else type(cuts)(part)
    listed = cuts if isinstance(cuts, list) else list(cuts)
    chosen = [listed[place] for place in places.tolist()]
    return chosen if isinstance(cuts, list | tuple) else type(cuts).from_cuts(chosen)


def joined(parts: Sequence[Any]) -> Any:
    """Return the utterances of parts of one manifest, one part behind the other."""
    rows = [backing(part) for part in parts]
    tables = {one.table for one in rows if one is not None}
    if len(tables) == 1 and None not in rows:
        whole = Utterances(tables.pop(), np.concatenate([one.rows for one in rows if one is not None]))
        return whole if parts[0] is rows[0] else type(parts[0])(whole)
    return type(parts[0]).from_cuts(cut for part in parts for cut in part)


def durations(cuts: Iterable[Cut]) -> npt.NDArray[np.float64]:
    """Return durations in seconds."""
    rows = backing(cuts)
    if rows is not None:
        column: npt.NDArray[np.float64] = rows.column("duration").to_numpy()
        return column
    return np.array([cut.duration for cut in cuts], dtype=np.float64)


def seconds(cuts: Iterable[Cut]) -> float:
    """Return the duration of all in seconds, added one after the other."""
    added = np.cumsum(durations(cuts))
    return float(added[-1]) if len(added) else 0.0


def ids(cuts: Iterable[Cut]) -> pa.ChunkedArray:
    """Return ids as Arrow text."""
    rows = backing(cuts)
    if rows is not None:
        return rows.column("id")
    return pa.chunked_array([pa.array([cut.id for cut in cuts], pa.string())])


def by_id(cuts: Iterable[Cut]) -> Positions:
    """Return positions in the order of ids."""
    rows = backing(cuts)
    if rows is not None and rows.is_whole:
        return rows.once("order of ids", lambda: _order(rows.column("id")))
    return _order(ids(cuts))


def _order(names: pa.ChunkedArray) -> Positions:
    return np.asarray(pc.sort_indices(names), dtype=np.int64)


def texts(cuts: Iterable[Cut]) -> Iterator[list[str]]:
    """Yield transcripts, not normalised, "" for none, in batches."""
    rows = backing(cuts)
    if rows is None:
        yield [(cut.supervisions[0].text if cut.supervisions else None) or "" for cut in cuts]
        return
    column = rows.column("text")
    for first in range(0, len(column), _AT_ONCE):
        yield [text or "" for text in column[first : first + _AT_ONCE].to_pylist()]


def texts_with(cuts: Iterable[Cut], pattern: str) -> Iterator[str]:
    """Yield the transcripts, not normalised, in which a pattern of RE2 is found."""
    rows = backing(cuts)
    named = rows.column("text") if rows is not None else pa.chunked_array([list(chain(*texts(cuts)))], pa.string())
    for first in range(0, len(named), _AT_ONCE):
        part = named[first : first + _AT_ONCE].drop_null()
        yield from part.filter(pc.match_substring_regex(part, pattern)).to_pylist()


def factor(cuts: Iterable[Cut], name: str) -> Factor:
    """Return a field as `manifest.field` gives it, or the duration as `duration_s`."""
    if name == "duration_s":
        values, codes = np.unique(durations(cuts), return_inverse=True)
        return Factor(values.tolist(), codes)
    rows = backing(cuts)
    if rows is not None:
        encoded = rows.encoded(name)
        listed = encoded.dictionary.to_pylist()
        return _known(listed if name in OWN else map(json.loads, listed), encoded.indices.fill_null(-1).to_numpy())
    return _factor_of_cuts(cuts, name)


def _factor_of_cuts(cuts: Iterable[Cut], name: str) -> Factor:
    found: dict[tuple[type, str], int] = {}
    values: list[Any] = []
    codes: list[int] = []
    for cut in cuts:
        value = _field(cut, name)
        code = found.setdefault((type(value), str(value)), len(values))
        if code == len(values):
            values.append(value)
        codes.append(code)
    return _known(values, np.array(codes, dtype=np.int64))


def converted(cuts: Iterable[Cut], sampling_rate: int) -> tuple[int, int]:
    """Return how many utterances have several channels, and how many another sampling rate."""
    rows = backing(cuts)
    if rows is None:
        pairs = [(cut.num_channels, cut.recording.sampling_rate) for cut in cuts]
        return sum(number > 1 for number, _ in pairs), sum(rate != sampling_rate for _, rate in pairs)
    channels, rates = rows.column("channels").to_numpy(), rows.column("sampling_rate").to_numpy()
    return int((channels > 1).sum()), int((rates != sampling_rate).sum())


def sources(cuts: Iterable[Cut]) -> list[str]:
    """Return the paths of the audio files, each once."""
    rows = backing(cuts)
    if rows is None:
        return list(dict.fromkeys(source.source for cut in cuts for source in cut.recording.sources))
    root = rows.table.manifest.parent.resolve()
    others = rows.column("other_sources").drop_null().to_pylist()
    named = [
        *rows.column("source").unique().drop_null().to_pylist(),
        *(one for row in others for one in json.loads(row)),
    ]
    return list(dict.fromkeys(absolute(source, root) for source in named))


def hashed(cuts: Iterable[Cut]) -> list[npt.NDArray[np.uint64]]:
    """Return hashes (N,) of what identifies utterances anywhere, 0 for none: text, audio digest, audio file.

    They are of id, speaker and text; and of the digest or the path of the audio with the times and the channel.
    Different utterances may have the same.
    """
    return _hashes(cuts, _HASHES)


def recordings(cuts: Iterable[Cut]) -> npt.NDArray[np.uint64]:
    """Return a hash (N,) of the audio file of each utterance: of its digest where that is known, else of its path."""
    return _hashes(cuts, _RECORDING)[0]


def _hashes(cuts: Iterable[Cut], columns: str) -> list[npt.NDArray[np.uint64]]:
    rows = backing(cuts)
    return _hashes_of_table(rows, columns) if rows is not None else _hashes_of_cuts(cuts, columns)


def _hashes_of_table(rows: Utterances, columns: str) -> list[npt.NDArray[np.uint64]]:
    return list(rows.once(columns, lambda: _hashes_of_rows(rows, columns)).T)


def _hashes_of_rows(rows: Utterances, columns: str) -> npt.NDArray[np.uint64]:
    """Return hashes (N, columns) of all rows of a table."""
    root = rows.table.manifest.parent.resolve()
    folders = rows.table.query("DISTINCT regexp_extract(source, '^.*/') AS folder").fetchall()
    database = connect()
    named = {folder or "": os.path.normpath(absolute(folder or "", root)) for (folder,) in folders}
    database.register("folders", pa.table({"folder": list(named), "path": list(named.values())}))
    table = database.sql(
        f"SELECT {columns} FROM (SELECT r.*, json_extract_string(custom, '$.audio_digest') AS digest, "
        f"path || '/' || regexp_extract(source, '[^/]*$') AS audio FROM {rows.table.source} r "
        "LEFT JOIN folders ON regexp_extract(source, '^.*/') = folder) ORDER BY row"
    ).to_arrow_table()
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _hashes_of_cuts(cuts: Iterable[Cut], columns: str) -> list[npt.NDArray[np.uint64]]:
    listed = [
        {
            "id": cut.id,
            "speaker": segment.speaker,
            "text": segment.text,
            "digest": (segment.custom or {}).get("audio_digest"),
            "audio": os.path.normpath(cut.recording.sources[0].source) if cut.has_recording else None,
            "start": float(cut.start),
            "duration": float(cut.duration),
            "channel": json.dumps(cut.channel),
        }
        for cut in cuts
        for segment in cut.supervisions[:1]
    ]
    names = ("id", "speaker", "text", "digest", "audio", "channel")
    schema = [*((name, pa.string()) for name in names), ("start", pa.float64()), ("duration", pa.float64())]
    database = connect()
    database.register("cuts", pa.Table.from_pylist(listed, schema=pa.schema(schema)))
    table = database.sql(f"SELECT {columns} FROM cuts").to_arrow_table()
    return [table[name].to_numpy() for name in table.column_names]


def field_names(cuts: Iterable[Cut]) -> set[str]:
    """Return the names of the standard fields and of the custom fields of any utterance."""
    rows = backing(cuts)
    if rows is not None:
        return rows.field_names()
    return {*OWN, *(key for cut in cuts for segment in cut.supervisions[:1] for key in segment.custom or {})}


def _field(cut: Cut, name: str) -> Any:
    segment = cut.supervisions[0] if cut.supervisions else None
    if segment is None:
        return None
    return getattr(segment, name) if name in OWN else (segment.custom or {}).get(name)


def _known(values: Iterable[Any], codes: Any) -> Factor:
    """Return the factor without values that are none: null, NaN and infinity."""
    listed = list(values)
    kept = [
        index
        for index, value in enumerate(listed)
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    ]
    new = np.full(len(listed) + 1, -1, dtype=np.int64)
    new[kept] = np.arange(len(kept))
    return Factor([listed[index] for index in kept], new[np.asarray(codes, dtype=np.int64)])
