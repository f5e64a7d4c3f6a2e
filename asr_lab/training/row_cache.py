"""Cache of per-utterance rows, in memory or, if they do not fit, on disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np
import psutil
import torch
from lhotse import CutSet
from torch import Tensor

from asr_lab.errors import AsrLabError
from asr_lab.units import num_frames, num_samples

Where = Literal["auto", "memory", "disk"]
_SHARE_OF_MEMORY = 0.5  # of what is free: training needs some too


class RowCache(Protocol):
    """Stores the rows of each utterance."""

    def put(self, id: str, *rows: Tensor) -> None: ...

    def get(self, id: str) -> tuple[Tensor, ...]: ...


class InMemory:
    """A dictionary."""

    def __init__(self) -> None:
        self.by_id: dict[str, tuple[Tensor, ...]] = {}

    def put(self, id: str, *rows: Tensor) -> None:
        self.by_id[id] = tuple(row.clone() for row in rows)  # not a view that holds the whole batch

    def get(self, id: str) -> tuple[Tensor, ...]:
        return self.by_id[id]


class Columns:
    """Writes rows to files: one for each kind of row (float32), utterances back to back."""

    def __init__(self, folder: Path, files: Sequence[IO[bytes]]) -> None:
        self.folder, self.files = folder, files
        self.places: dict[str, tuple[int, int]] = {}
        """Utterance id -> (first row, rows)."""
        self.length = 0

    def put(self, id: str, *rows: Tensor) -> None:
        try:
            for file, row in zip(self.files, rows, strict=True):
                file.write(np.ascontiguousarray(row.numpy()).data)
        except OSError as error:
            raise AsrLabError(
                f"encoder outputs cannot be written: {error.strerror}", where=str(self.folder.resolve())
            ) from error
        self.places[id] = (self.length, len(rows[0]))
        self.length += len(rows[0])


class OnDisk(Columns):
    """Rows on disk, memory-mapped at the first read.

    The files are unnamed, so that the disk is freed however the process ends.
    """

    def __init__(self, folder: Path, widths: Sequence[int]) -> None:
        super().__init__(folder, [tempfile.TemporaryFile(dir=folder) for _ in widths])  # noqa: SIM115
        self.widths = widths
        self.mapped: list[Tensor] = []

    def get(self, id: str) -> tuple[Tensor, ...]:
        if not self.mapped:
            self.mapped = [
                torch.from_numpy(np.memmap(file, np.float32, "c", shape=(self.length, width)))
                for file, width in zip(self.files, self.widths, strict=True)
            ]
        start, length = self.places[id]
        return tuple(column[start : start + length] for column in self.mapped)


def make_row_cache(cuts: CutSet, widths: Sequence[int], where: Where, folder: Path) -> RowCache:
    """Return a cache in memory, or in `folder` for `disk`, or for `auto` if the rows need over half of the memory.

    Raise `AsrLabError` if the disk is too small.
    """
    needed = _bytes(cuts, widths)
    if where == "memory" or (where == "auto" and needed <= _SHARE_OF_MEMORY * free_memory()):
        return InMemory()
    folder.mkdir(parents=True, exist_ok=True)
    check_disk_space(cuts, widths, folder)
    return OnDisk(folder, widths)


def check_disk_space(cuts: CutSet, widths: Sequence[int], folder: Path) -> None:
    """Raise `AsrLabError` if the disk of a folder is too small for the rows of these utterances."""
    needed = _bytes(cuts, widths)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise AsrLabError(
            f"encoder outputs need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=str(folder.resolve()),
            hint="fewer or shorter utterances need less; the checkpoints folder may be a link to a larger disk",
        )


def _bytes(cuts: CutSet, widths: Sequence[int]) -> int:
    total = sum((num_frames(num_samples(cut.duration)) + 1) // 2 for cut in cuts)
    return total * sum(widths) * torch.finfo(torch.float32).bits // 8


def free_memory() -> int:
    """Return the free memory in bytes, of the machine or within the limit of the container."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # Linux control groups, version 2; "max" is no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return free
