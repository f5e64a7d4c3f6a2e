"""Utterances of a manifest's table: columns without cuts, and cuts that are built when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from asr_lab.data.identity import OVER_S, OWN, digest_of
from asr_lab.data.manifest_lines import Lines
from asr_lab.data.manifest_table import ManifestTable, connect, sorted_digest, table_of
from asr_lab.data.parsed_lines import IDENTITY, RowReader
from asr_lab.data.remote_manifest import local_manifest
from asr_lab.errors import AsrLabError

if TYPE_CHECKING:
    from lhotse.cut import Cut

T = TypeVar("T")
Positions = npt.NDArray[np.int64]

_MOST_DISTINCT = 100_000  # values of a column that stays in memory
_KEPT = 20_000  # as many cuts stay in memory once they are built: 3 kB each


class TableReader:
    """Reads lines and columns of a table once, for all parts of its utterances."""

    def __init__(self, table: ManifestTable) -> None:
        self._table, self._reader = table, table.reader()
        self._known: dict[str, Any] = {}

    def once(self, key: str, compute: Callable[[], T], keeps: Callable[[T], bool] = lambda _: True) -> T:
        """Return what is computed the first time; each time where it is not one that `keeps`."""
        if key in self._known:
            return cast(T, self._known[key])
        made = compute()
        if keeps(made):
            self._known[key] = made
        return made

    def line(self, row: int) -> bytes:
        """Return a line."""
        block, at, length = (int(column[row]) for column in self._places)
        return self._reader.read(block, at, length)

    def lines(self, rows: Positions | None, *, together: bool = False) -> Iterator[bytes]:
        """Yield the lines of these rows in their order, None: of all; `together`: those that lie together at once."""
        read = self._reader.read_runs if together else self._reader.read_all
        yield from read(*(column if rows is None else column[rows] for column in self._places))

    @cached_property
    def _places(self) -> list[Positions]:
        """Where each line is: block, at, length."""
        table = self._table.columns("block", "at", "length")
        return [column.to_numpy() for column in table.columns]


class Utterances(Sequence["Cut"]):
    """Utterances of a table, by their rows in any order; all of them by default.

    Iterating and indexing reads lines and builds Lhotse cuts with absolute audio paths.
    """

    def __init__(self, table: ManifestTable, rows: Positions | None = None, reader: TableReader | None = None) -> None:
        self.table, self._rows = table, rows
        self._kept: list[Cut] | None = None
        self._root = table.manifest.parent.resolve()
        self._reader = reader or TableReader(table)

    def __len__(self) -> int:
        return self._number if self._rows is None else len(self._rows)

    @cached_property
    def _number(self) -> int:
        """Number of utterances of the table, which is read from its file once."""
        return len(self.table)

    @classmethod
    def read(cls, path: Path | str, *, speech: bool = True) -> Utterances:
        """Read a manifest through its table, and check it as `manifest.read` does, with the same errors."""
        whole = cls(table_of(local_manifest(path)))
        suspects = _suspects(whole, speech)
        if len(suspects) or not len(whole):
            from asr_lab.data.cuts import check

            check(list(whole.take(suspects)), where=str(path), speech=speech)
        return whole

    @property
    def rows(self) -> Positions:
        """Places in the manifest, from 0."""
        return np.arange(self._number) if self._rows is None else self._rows

    @property
    def is_whole(self) -> bool:
        """Whether these are all utterances of the manifest."""
        return self._rows is None

    def take(self, positions: Positions) -> Utterances:
        """Return the utterances at these positions among these."""
        return Utterances(self.table, self.rows[positions], self._reader)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column of the table for these utterances."""
        column = self.table.columns(name)[name]
        return column if self._rows is None else column.take(pa.array(self._rows))

    def custom(self, name: str) -> pa.ChunkedArray:
        """Return a custom field as JSON text; null where there is none."""
        path = "$." + json.dumps(name, ensure_ascii=False).replace("'", "''")
        column = self.table.query(f"json_extract(custom, '{path}')::VARCHAR AS value").to_arrow_table()["value"]
        return column if self._rows is None else column.take(pa.array(self._rows))

    def encoded(self, name: str) -> pa.DictionaryArray:
        """Return a field as codes and its distinct values, custom ones as JSON text, in the order of their rows."""
        whole = self._reader.once(
            name,
            lambda: self._whole_column(name).combine_chunks().dictionary_encode(),
            lambda column: len(column.dictionary) <= _MOST_DISTINCT,
        )
        if self._rows is None:
            return whole
        part = whole.indices.take(pa.array(self._rows)).dictionary_encode()
        return pa.DictionaryArray.from_arrays(part.indices, whole.dictionary.take(part.dictionary))

    def _whole_column(self, name: str) -> pa.ChunkedArray:
        return self.table.columns(name)[name] if name in OWN else Utterances(self.table).custom(name)

    def once(self, key: str, compute: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return what is computed of all utterances of the table (N,), once, for these."""
        return self._reader.once(key, compute)[self.rows]

    def field_names(self) -> set[str]:
        """Return the standard fields, and the custom fields of any utterance."""
        keys = self.table.query("DISTINCT unnest(json_keys(custom)) AS key").fetchall()
        return {*OWN, *(key for (key,) in keys)}

    def lines(self, *, together: bool = False) -> Iterator[bytes]:
        """Yield the lines of the manifest, `together` many at once."""
        yield from self._reader.lines(self._rows, together=together)

    def digest(self) -> str:
        """Return the digest of these utterances, as `manifest.digest` does."""
        if self.is_whole and self.table.digest:
            return self.table.digest
        reader, parts, first = RowReader(self.table.manifest), list[pa.Table](), 0
        lines = iter(self.lines())
        while data := list(islice(lines, _KEPT)):
            made = reader.rows(Lines(first, b"".join(data), np.cumsum([0, *map(len, data)])))[IDENTITY]
            if made.null_count:  # the audio has to be read
                known = zip(made.to_pylist(), data, strict=True)
                made = [one or _identity(self._cut(line)) for one, line in known]
            parts.append(pa.table({IDENTITY: made}))
            first += len(data)
        return sorted_digest(connect().from_arrow(pa.concat_tables(parts))) if parts else digest_of(())

    @overload
    def __getitem__(self, index: int) -> Cut: ...
    @overload
    def __getitem__(self, index: slice) -> Utterances: ...
    def __getitem__(self, index: int | slice) -> Cut | Utterances:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if self._kept is not None:
            return self._kept[index]
        row = range(self._number)[index] if self._rows is None else int(self._rows[index])
        return self._cut(self._reader.line(row))

    def __iter__(self) -> Iterator[Cut]:
        if self._kept is None and len(self) <= _KEPT:
            self._kept = [self._cut(line) for line in self.lines()]
        yield from self._kept if self._kept is not None else (self._cut(line) for line in self.lines())

    def _cut(self, line: bytes) -> Cut:
        from asr_lab.data.cuts import built, located

        try:
            return built(located(json.loads(line), self._root))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise AsrLabError(
                f"a line of the manifest is not a Lhotse cut: {error!r}", where=str(self.table.manifest)
            ) from error


def _identity(cut: Cut) -> str:
    from asr_lab.data.cuts import identity_of

    return identity_of(cut)


def _suspects(whole: Utterances, speech: bool) -> Positions:
    """Return the utterances that may break the contract, all that do among them."""
    names = ("start", "duration", "supervision_start", "supervision_duration", "supervisions")
    table = whole.table.columns("id", "text", "speaker", *names)
    start, duration, inner, inner_duration, supervisions = (table[name].to_numpy() for name in names)
    right = np.isfinite(start) & np.isfinite(duration) & (start >= 0) & (duration > 0)
    if speech:
        right &= (supervisions == 1) & (inner >= -OVER_S) & (inner_duration > 0) & (inner < duration)
        right &= inner + inner_duration <= duration + OVER_S
        for name in ("text", "speaker"):
            spoken = pc.and_(pc.greater(pc.utf8_length(table[name]), 0), pc.invert(pc.utf8_is_space(table[name])))
            right &= spoken.fill_null(False).to_numpy()
    if pc.count_distinct(table["id"]).as_py() < len(table):
        counts = pc.value_counts(table["id"].combine_chunks())
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        right &= ~pc.is_in(table["id"], twice).to_numpy()
    return np.flatnonzero(~right)
