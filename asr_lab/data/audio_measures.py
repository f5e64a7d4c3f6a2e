"""Read all audio of a manifest by several processes, and keep what was measured, so that an interruption costs little.

The utterances are read in the order of their files, in parts of an hour of audio. What was measured of a part is a
parquet file in a folder beside the manifest's table: the same call after an interruption reads only the other parts,
and those whose audio files were changed since. Parts do not depend on the number of processes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from asr_lab.data.audio_places import MEMBER_DIGEST, file_of, member_of, read_member, size_of, url_of
from asr_lab.data.cut_audio import read_native
from asr_lab.data.identity import bytes_digest, file_digest
from asr_lab.data.manifest_table import MEASURED
from asr_lab.data.table_utterances import Positions, Utterances
from asr_lab.errors import AsrLabError
from asr_lab.system.files import atomic_file, explain_unwritable
from asr_lab.system.locks import take_lock
from asr_lab.system.stopping import ENDING, end_with
from asr_lab.system.threads import usable_cores

if TYPE_CHECKING:
    from lhotse.cut import Cut

Progress = Callable[[int, int], None]
Measure = Callable[[Utterances], pa.Table]
"""Returns a row for each utterance, with the column `row` (its place in the manifest)."""

UNREADABLE, CHANGED, RATE, DURATION = "unreadable", "changed", "rate", "duration"
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("fault", pa.string()),  # one of the four above; null: none
        ("detail", pa.string()),
        ("peak_db", pa.float32()),  # dB relative to full scale
        ("loud_s", pa.float32()),  # seconds above `LOUD_DB`
        ("clipped", pa.float32()),  # share of the samples
        ("audio", pa.string()),  # digest of the rate and the samples, at 16 bits
    ]
)
LOUD_DB = -50.0
"""RMS of a frame of 25 ms, in dB relative to full scale, above which it is not silent."""
NO_PEAK_DB = -200.0
_FRAME_S = 0.025
_CLIPS_FROM = 0.5  # of full scale: the lowest extreme at which samples count as clipped
_RUN = 3  # samples at the extreme in a row, from which they are clipped
_OFF_S = 0.02  # between the duration of a recording in the manifest and that of its file
_PART_S = 3600.0
_AHEAD = 2  # parts given to each process before results are taken
_FILES = b"files"
_measured: tuple[Utterances, Measure] | None = None  # what forked processes read


def measure_audio(cuts: Utterances) -> pa.Table:
    """Read utterances; return what `SCHEMA` says of each."""
    rows = [{"row": row, **_measure(cut)} for row, cut in zip(cuts.rows.tolist(), cuts, strict=True)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _measure(cut: Cut) -> dict[str, Any]:
    try:
        samples, header = read_native(cut)
    except AsrLabError as error:
        return {"fault": UNREADABLE, "detail": f"{error.what} ({error.where})"}
    fault, detail = _fault(cut, header)
    return {
        "fault": fault,
        "detail": detail,
        "peak_db": 20 * np.log10(max(float(np.abs(samples).max()), 10 ** (NO_PEAK_DB / 20))),
        "loud_s": loud_s(samples, header.samplerate),
        "clipped": clipped_share(samples),
        "audio": _samples_digest(samples, header.samplerate),
    }


def _fault(cut: Cut, header: Any) -> tuple[str | None, str | None]:
    """Return in what a file is not the one of the manifest."""
    recording, path = cut.recording, cut.recording.sources[0].source
    if header.samplerate != recording.sampling_rate:
        return RATE, f"{header.samplerate} Hz, not {recording.sampling_rate} Hz as the manifest says ({path})"
    duration_s, expected_s = header.frames / header.samplerate, recording.num_samples / recording.sampling_rate
    if abs(duration_s - expected_s) > _OFF_S:
        return DURATION, f"{duration_s:.2f} s, not {expected_s:.2f} s as the manifest says ({path})"
    if _is_changed(cut, str(path)):
        return CHANGED, f"the audio is not the one that was imported ({path})"
    return None, None


def _is_changed(cut: Cut, source: str) -> bool:
    if member := member_of(source):
        digest = (cut.custom or {}).get(MEMBER_DIGEST)
        return bool(digest) and bytes_digest(read_member(member)) != digest
    digest = (cut.supervisions[0].custom or {}).get("audio_digest") if cut.supervisions else None
    return bool(digest) and _file_digest(source) != digest


@lru_cache(4)
def _file_digest(path: str) -> str:
    return file_digest(Path(path))


def loud_s(samples: npt.NDArray[np.float32], rate: int) -> float:
    """Return how many seconds of a signal (num_samples, channels) are louder than `LOUD_DB`; an offset is no sound."""
    mono = samples.mean(axis=1)
    length = min(len(mono), max(1, round(_FRAME_S * rate)))
    frames = (mono - mono.mean())[: len(mono) // length * length].reshape(-1, length)
    return float((np.sqrt((frames**2).mean(axis=1)) > 10 ** (LOUD_DB / 20)).sum() * length / rate)


def clipped_share(samples: npt.NDArray[np.float32]) -> float:
    """Return the share of clipped samples of the worst channel of a signal (num_samples, channels).

    Clipped are three samples or more in a row that have the highest or the lowest value of the channel, which is half
    of full scale at least. Lossy compression hides it.
    """
    return max(_clipped(channel) for channel in samples.T)


def _clipped(samples: npt.NDArray[np.float32]) -> float:
    clipped = 0
    for extreme in (samples.max(), samples.min()):
        if abs(extreme) >= _CLIPS_FROM:
            ends = np.flatnonzero(np.diff(samples == extreme, prepend=False, append=False)).reshape(-1, 2)
            lengths = ends[:, 1] - ends[:, 0]
            clipped += int(lengths[lengths >= _RUN].sum())
    return clipped / len(samples)


def _samples_digest(samples: npt.NDArray[np.float32], rate: int) -> str:
    """Return a digest that a copy in another lossless format has too."""
    rounded = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2")
    return hashlib.blake2b(rounded.tobytes(), digest_size=16, person=f"{rate}x{samples.shape[1]}".encode()).hexdigest()


@dataclass(frozen=True)
class _Part:
    """Utterances that are measured at once, and their audio files."""

    rows: Positions
    sources: list[str]


class Measurements:
    """What was measured of all utterances of a manifest, in a folder beside its table."""

    def __init__(self, cuts: Utterances, kind: str = "audio") -> None:
        assert cuts.is_whole
        self.cuts = cuts
        self._whole = cuts.table.parquet.with_suffix(MEASURED)
        self.folder = self._whole / kind

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raise `AsrLabError` if another process is measuring the same manifest."""
        with explain_unwritable("what is measured", self._whole):
            lock = take_lock(self._whole / "lock")
        if lock is None:
            raise AsrLabError("another process is checking this manifest", where=str(self.cuts.table.manifest))
        try:
            yield
        finally:
            lock.release()

    def run(self, measure: Measure = measure_audio, *, workers: int = 0, progress: Progress | None = None) -> int:
        """Measure the parts that are not measured yet; return how many utterances an earlier call had measured.

        `workers`: processes, 0 for one per core, 1 for this process. Raises `AsrLabError` if one is killed, or the
        measurements cannot be written.
        """
        parts = self._parts()
        missing = [number for number, part in enumerate(parts) if not self._is_measured(number, part)]
        done = earlier = len(self.cuts) - sum(len(parts[number].rows) for number in missing)
        with explain_unwritable("what is measured", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        todo = {number: parts[number] for number in missing}
        for number, table in _measure_parts(self.cuts, measure, todo, workers):
            with (
                explain_unwritable("what is measured", self.folder),
                atomic_file(self.folder / f"{number:06}.parquet") as path,
            ):
                pq.write_table(table, path, compression="zstd")
            done += len(table)
            if progress:
                progress(done, len(self.cuts))
        return earlier

    @property
    def dataset(self) -> dataset.Dataset:
        """What was measured of all utterances."""
        return dataset.dataset(sorted(map(str, self.folder.glob("*.parquet"))), format="parquet")

    def remove(self) -> None:
        """Remove the measurements, once they are used, and the folder if there are no others in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not any(path.is_dir() for path in self._whole.iterdir()):
            shutil.rmtree(self._whole, ignore_errors=True)

    def _parts(self) -> list[_Part]:
        rows = self.cuts.table.query("row, duration, source", order="ORDER BY source, start, row").to_arrow_table()
        duration_s = np.nan_to_num(rows["duration"].to_numpy())
        number = (np.cumsum(duration_s) - duration_s) // _PART_S
        bounds = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(rows)]
        parts = (rows[first:end] for first, end in pairwise(bounds))
        return [_Part(part["row"].to_numpy(), part["source"].drop_null().unique().to_pylist()) for part in parts]

    def _is_measured(self, number: int, part: _Part) -> bool:
        try:
            known = pq.read_metadata(self.folder / f"{number:06}.parquet")
        except (OSError, pa.ArrowInvalid):
            return False
        return bool(known.num_rows == len(part.rows) and known.metadata.get(_FILES) == _files(self.cuts, part))


def _measure_parts(
    cuts: Utterances, measure: Measure, parts: dict[int, _Part], workers: int
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number and the measurements of each part, in the order in which they are done."""
    global _measured
    workers = min(workers or len(usable_cores()), len(parts))
    _measured = cuts, measure
    try:
        if workers < 2:
            yield from ((number, _measure_part(part)) for number, part in parts.items())
        else:
            yield from _measure_in_processes(parts, workers)
    except BrokenProcessPool as error:
        raise AsrLabError(
            "a process that reads audio was killed, perhaps because there was too little memory",
            where=str(cuts.table.manifest),
            hint="fewer --workers need less memory; the same command continues",
        ) from error
    finally:
        _measured = None


def _measure_in_processes(parts: dict[int, _Part], workers: int) -> Iterator[tuple[int, pa.Table]]:
    pool = ProcessPoolExecutor(workers, get_context("fork"), initializer=_start, initargs=(os.getpid(),))
    rest, running = iter(parts.items()), dict[Future[pa.Table], int]()
    try:
        while True:
            for number, part in islice(rest, _AHEAD * workers - len(running)):
                running[pool.submit(_measure_part, part)] = number
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this one
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    end_with(parent)


def _measure_part(part: _Part) -> pa.Table:
    assert _measured is not None
    cuts, measure = _measured
    files = _files(cuts, part)  # before they are read
    return measure(cuts.take(part.rows)).replace_schema_metadata({_FILES: files})


def _files(cuts: Utterances, part: _Part) -> bytes:
    """Return a digest of the sizes and the times of change of the audio files of a part."""
    digest = hashlib.sha256()
    for source in part.sources:
        digest.update(f"{source}\0{_state(source, cuts.table.manifest.parent)}\n".encode())
    return digest.hexdigest().encode()


def _state(source: str, root: Path) -> str:
    file = file_of(source)
    if url_of(file):
        return str(size_of(file))
    try:
        state = (root / file).stat()
    except OSError:
        return "missing"
    return f"{state.st_size}\0{state.st_mtime_ns}"
