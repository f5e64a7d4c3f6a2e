"""The table of a manifest: its rows as parquet, and a copy of its lines in which each can be found.

Made once, in `.tables` beside the manifest, and known by the SHA-256 of the manifest: a manifest that changed gets a
table of its own, and the old one goes. Two processes that want one make one. Where it cannot be written, as in a
read-only folder, it is made in a temporary folder for this process.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import shlex
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asr_lab.data.identity import DIGEST_LENGTH, FOLDER, SUFFIX, file_digest
from asr_lab.data.manifest_lines import LineReader, Lines, LineWriter, read_lines, table_error
from asr_lab.data.parsed_lines import IDENTITY, SCHEMA, RowReader
from asr_lab.errors import AsrLabError
from asr_lab.system.files import atomic_file, is_left_over, own_temporary_folder
from asr_lab.system.locks import LockError, lock_on

MEASURED = ".check"
"""Suffix of the folder of what an unfinished check of the audio has measured (`audio_measures`)."""
_VERSION = 1
_IMPORTED = (".json", ".jsonl", ".csv", ".tsv", ".parquet")  # what is no manifest, but can become one
_PLACES = [("block", pa.int64()), ("at", pa.int32()), ("length", pa.int32())]  # of the line in the copy
_SCHEMA = pa.schema([*(field for field in SCHEMA if field.name != IDENTITY), *_PLACES])
_IDENTITY = pa.schema([SCHEMA.field(IDENTITY)])
_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["channel", "speaker", "gender", "language", "source"],
}
_DIGEST, _SIZE = b"digest", b"lines"  # in the metadata: of the manifest, and the bytes of the copy of its lines
_log = logging.getLogger(__name__)
_warned: set[Path] = set()


@dataclass(frozen=True)
class ManifestTable:
    """The table of a manifest of N utterances."""

    manifest: Path
    parquet: Path
    lines: Path

    def query(self, columns: str = "*", where: str = "true", order: str = "") -> duckdb.DuckDBPyRelation:
        """Return a query of the rows; `row` is the place of a row in the manifest, from 0."""
        with self.explain_gone():
            return connect().sql(f"SELECT {columns} FROM {self.source} WHERE {where} {order}")

    @property
    def source(self) -> str:
        """The rows in a query of DuckDB."""
        return f"(SELECT *, file_row_number AS row FROM read_parquet({_quoted(self.parquet)}, file_row_number = true))"

    def columns(self, *names: str) -> pa.Table:
        """Return columns in the order of the manifest."""
        with self.explain_gone():
            return pq.read_table(self.parquet, columns=list(names))

    @contextmanager
    def explain_gone(self) -> Iterator[None]:
        """Raise `AsrLabError` if the table is gone or damaged; a damaged one is removed, and then made anew."""
        try:
            yield
        except (OSError, pa.ArrowException, duckdb.IOException, duckdb.InvalidInputException) as error:
            raise table_error(self.parquet, error) from error

    @property
    def is_complete(self) -> bool:
        """Whether both files are there, and neither is cut off."""
        try:
            size = (pq.read_metadata(self.parquet).metadata or {}).get(_SIZE)
            return size == str(self.lines.stat().st_size).encode()
        except (OSError, pa.ArrowInvalid):
            return False

    def __len__(self) -> int:
        with self.explain_gone():
            return int(pq.read_metadata(self.parquet).num_rows)

    @property
    def digest(self) -> str:
        """The digest of the manifest as `manifest.digest` computes it; "" if that has to read the audio."""
        found: bytes = (pq.read_metadata(self.parquet).metadata or {}).get(_DIGEST, b"")
        return found.decode()

    def reader(self) -> LineReader:
        return LineReader(self.lines)


def connect() -> duckdb.DuckDBPyConnection:
    """Return a database in memory, which writes what does not fit into the folder for temporary files."""
    spill = own_temporary_folder("asr-lab-duckdb")
    return duckdb.connect(
        config={"threads": 2, "memory_limit": "500MB", "temp_directory": str(spill), "preserve_insertion_order": True}
    )


def table_of(manifest: Path) -> ManifestTable:
    """Return the table of a manifest, which is made if there is none yet.

    Raises `AsrLabError` if the file is missing, cut off or no manifest; a broken line is named.
    """
    if not manifest.is_file():
        raise AsrLabError(
            "a folder, not a manifest" if manifest.is_dir() else "no such manifest",
            where=str(manifest),
            allowed=f"a file of Lhotse cuts ({SUFFIX})",
            next_command="asr-lab data synth, or asr-lab data import --help",
        )
    digest = file_digest(manifest)
    folder = manifest.parent / FOLDER
    table = _table(manifest, folder, digest)
    if table.is_complete:
        return table
    try:
        folder.mkdir(exist_ok=True)
        with lock_on(folder / f"{_stem(manifest)}.lock"):
            if not table.is_complete:
                _make(table)
                _remove_others(table)
        return table
    except (OSError, LockError) as error:
        return _elsewhere(manifest, digest, error)


def _table(manifest: Path, folder: Path, digest: str) -> ManifestTable:
    name = f"{_stem(manifest)}.{digest[:16]}-{_VERSION}"
    return ManifestTable(manifest, folder / f"{name}.parquet", folder / f"{name}.lines")


def _stem(manifest: Path) -> str:
    return manifest.name.removesuffix(SUFFIX)


def _remove_others(table: ManifestTable) -> None:
    """Remove the tables of what the manifest was before, and of manifests that are not there any more.

    Also what killed processes left: all of it holds texts and speakers. A process that has opened one still has that.
    """
    for path in _files(table.manifest.parent):
        stem = path.stem.rpartition(".")[0]
        is_before = stem == _stem(table.manifest) and path.stem != table.parquet.stem
        is_orphan = not any((table.manifest.parent / f"{stem}{suffix}").is_file() for suffix in (SUFFIX, ""))
        if is_before or is_orphan:
            _remove(path)
    for path in table.parquet.parent.glob(".*"):
        with suppress(OSError):  # of another process, which has just ended
            if is_left_over(path):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_tables(manifest: Path) -> None:
    """Remove the tables of a manifest that was removed, and the folder if there is no other in it."""
    folder = manifest.parent / FOLDER
    for path in _files(manifest.parent):
        if path.stem.rpartition(".")[0] == _stem(manifest):
            _remove(path)
    (folder / f"{_stem(manifest)}.lock").unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _files(folder: Path) -> list[Path]:
    """Return the files of the tables of all manifests in a folder, and the folders of what was measured of audio."""
    return [path for path in (folder / FOLDER).glob("*-*.*") if path.suffix in (".parquet", ".lines", MEASURED)]


@lru_cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="asr-lab-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _elsewhere(manifest: Path, digest: str, error: OSError | LockError) -> ManifestTable:
    """Make the table in a temporary folder, and say so once."""
    table = _table(manifest, _own_folder() / digest, digest)
    if not table.is_complete:
        if manifest.parent not in _warned:
            _warned.add(manifest.parent)
            why = error.what if isinstance(error, LockError) else os.strerror(error.errno) if error.errno else error
            _log.warning("no table beside %s (%s): each command makes one for itself", manifest, why)
        try:
            table.parquet.parent.mkdir(exist_ok=True)
            _make(table)
        except OSError as also:
            raise AsrLabError(
                f"the table of a manifest cannot be written, neither beside it nor as a temporary file: {also}",
                where=str(manifest),
                allowed=f"room for about as much as the manifest takes, there or in {tempfile.gettempdir()}",
            ) from also
    return table


def _make(table: ManifestTable) -> None:
    """Write the table: the lines, then the parquet file, which says that both are complete."""
    reader = RowReader(table.manifest)
    with (
        tempfile.TemporaryDirectory(prefix=".digest.", dir=table.parquet.parent) as folder,
        atomic_file(table.parquet, sync=True) as rows,  # or a loss of power leaves empty files
        atomic_file(table.lines, sync=True) as lines,
    ):
        identities = Path(folder) / "identities.parquet"
        with lines.open("wb") as file, pq.ParquetWriter(rows, _SCHEMA, **_OPTIONS) as writer:
            copy = LineWriter(file)
            with pq.ParquetWriter(identities, _IDENTITY, compression="lz4", use_dictionary=False) as own:
                for batch in _readable(table.manifest):
                    places = zip(_PLACES, copy.write(batch), strict=True)
                    made = reader.rows(batch)
                    own.write_table(made.select([IDENTITY]))
                    made = made.drop_columns([IDENTITY])
                    for (name, kind), values in places:
                        made = made.append_column(name, pa.array(values, kind))
                    writer.write_table(made)
            size = str(file.tell())
            writer.add_key_value_metadata({_DIGEST.decode(): _digest(identities, table), _SIZE.decode(): size})


def _readable(manifest: Path) -> Iterator[Lines]:
    """Yield the lines; raises `AsrLabError` if the file is cut off or not a manifest."""
    try:
        yield from read_lines(manifest)
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise AsrLabError(
            f"the manifest is cut off or not a {SUFFIX} file: {error}",
            where=str(manifest),
            next_command=f"asr-lab data import {shlex.quote(str(manifest))} OUT"
            if manifest.suffix in _IMPORTED
            else "",
        ) from error


def _digest(identities: Path, table: ManifestTable) -> str:
    """Return the digest of all rows; "" if one has no identity without reading its audio."""
    database, file = connect(), _quoted(identities)
    try:
        unknown = database.sql(f"SELECT 1 FROM {file} WHERE {IDENTITY} IS NULL LIMIT 1").fetchall()
        return "" if unknown else sorted_digest(database.sql(f"SELECT {IDENTITY} FROM {file}"))
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise AsrLabError(
            f"the rows of a manifest cannot be sorted: {str(error).splitlines()[0]}",
            where=str(table.manifest),
            allowed=f"room for about as much as the manifest takes in {tempfile.gettempdir()} (TMPDIR)",
        ) from error


def sorted_digest(identities: duckdb.DuckDBPyRelation) -> str:
    """Return the digest of the lines that identify utterances, which may be more than fit in memory."""
    sha = hashlib.sha256()
    for batch in identities.order(IDENTITY).project(f"{IDENTITY} || chr(10)").to_arrow_reader(50_000):
        lines = batch.column(0).cast(pa.large_string())
        _, ends, data = lines.buffers()
        first, end = np.frombuffer(ends, np.int64)[[lines.offset, lines.offset + len(lines)]]
        sha.update(memoryview(data)[first:end])
    return sha.hexdigest()[:DIGEST_LENGTH]


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
