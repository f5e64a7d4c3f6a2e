"""Estimate the SNR of utterances without one, in parallel and resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.audio import read_cut
from asr_lab.data.snr import Method, estimate
from asr_lab.data.text_files import lines
from asr_lab.errors import AsrLabError

_AT_ONCE = 256  # utterances between two writes of the journal
_MOST_FAULTS = 20

Progress = Callable[[int, int], None]


def fill_snr(
    cuts: Sequence[Cut], journal: Path, *, method: Method = "floor", workers: int = 0, progress: Progress | None = None
) -> tuple[int, list[str]]:
    """Set `snr_db` and `snr_by` (the method) of utterances without `snr_db`.

    Return the number of estimates, and a line per utterance that cannot be read. Estimates are appended to `journal`,
    from which another call resumes. `workers`: threads, 0 for one per core. Raises one `AsrLabError` if no utterance
    can be read.
    """
    lacking = [cut for cut in cuts if manifest.field(cut, "snr_db") is None]
    known = _noted(journal, method)
    todo = [cut for cut in lacking if _key(cut) not in known]
    faults: list[str] = []
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as notes, ThreadPoolExecutor(workers or _cores()) as pool:
        for batch in _batches(todo):
            for cut, result in zip(batch, pool.map(lambda cut: _estimated(cut, method), batch), strict=True):
                if isinstance(result, AsrLabError):
                    faults.append(f"{cut.id}: {result.what} ({result.where})")
                    continue
                known[_key(cut)] = result
                notes.write(json.dumps([_key(cut), method, result], ensure_ascii=False) + "\n")
            notes.flush()
            if progress:
                progress(len(known), len(lacking))
    if faults and len(faults) == len(lacking):
        more = f"\n    and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise AsrLabError(
            f"{len(faults)} recordings cannot be read, nothing was written:\n    "
            + "\n    ".join(faults[:_MOST_FAULTS])
            + more
        )
    for cut in lacking:
        if _key(cut) in known:
            segment = manifest.supervision(cut)
            segment.custom = {**(segment.custom or {}), "snr_db": known[_key(cut)], "snr_by": method}
    return len(lacking) - len(faults), faults


def _estimated(cut: Cut, method: Method) -> float | AsrLabError:
    try:
        return estimate(read_cut(cut), method)
    except AsrLabError as error:
        return error


def _key(cut: Cut) -> str:
    """Return the key of an estimate in the journal: the id, and the audio digest if known."""
    return f"{cut.id} {manifest.field(cut, 'audio_digest') or ''}"


def _noted(journal: Path, method: Method) -> dict[str, float]:
    estimates: dict[str, float] = {}
    with suppress(OSError):
        for line in lines(journal.read_text(encoding="utf-8")):
            with suppress(ValueError):  # the last line may be cut off
                key, by, level = json.loads(line)
                if by == method:
                    estimates[key] = level
    return estimates


def _batches(cuts: Sequence[Cut]) -> Iterator[list[Cut]]:
    rows = iter(cuts)
    while batch := list(islice(rows, _AT_ONCE)):
        yield batch


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
