"""Estimate the SNR of utterances without one, by several processes and resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lhotse.cut import Cut

from asr_lab.data import columns
from asr_lab.data.audio_measures import Measurements, Progress
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.snr import Method, estimate
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

_MOST_FAULTS = 20
_SCHEMA = pa.schema([("row", pa.int64()), ("snr_db", pa.float64()), ("fault", pa.string())])


@dataclass(frozen=True)
class Levels:
    """SNRs of the N utterances of a manifest."""

    snr_db: npt.NDArray[np.float64]
    """(N,); NaN: given by the manifest, or not known."""
    num_lacking: int
    """Number of utterances without an SNR in the manifest."""
    faults: list[str]
    """A line for each utterance that cannot be read."""


def estimate_snrs(
    cuts: Utterances, measurements: Measurements, *, method: Method = "floor", workers: int = 0,
    progress: Progress | None = None,
) -> Levels:  # fmt: skip
    """Estimate the SNRs of the utterances of a manifest that have none.

    An interrupted call continues, if `measurements` are those of the same method. `workers`: processes, 0 for one per
    core. Raises one `AsrLabError` if none of these utterances can be read.
    """
    lacking_N = columns.factor(cuts, "snr_db").codes < 0
    measurements.run(_measure(method, lacking_N), workers=workers, progress=progress)
    table = measurements.dataset.to_table().sort_by("row")
    is_faulty = table["fault"].is_valid().to_numpy()
    ids = columns.ids(cuts).filter(pa.array(is_faulty)).to_pylist()
    faults = [f"{id}: {fault}" for id, fault in zip(ids, table["fault"].drop_null().to_pylist(), strict=True)]
    if faults and len(faults) == lacking_N.sum():
        more = f"\n    and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise AsrLabError(
            f"{counted(len(faults), 'recording')} cannot be read, nothing was written:\n    "
            + "\n    ".join(faults[:_MOST_FAULTS])
            + more
        )
    return Levels(table["snr_db"].to_numpy(), int(lacking_N.sum()), faults)


def _measure(method: Method, lacking_N: npt.NDArray[np.bool_]) -> Callable[[Utterances], pa.Table]:
    def measure(cuts: Utterances) -> pa.Table:
        lacking = lacking_N[cuts.rows]
        estimates = iter([_estimated(cut, method) for cut in cuts.take(np.flatnonzero(lacking))])
        rows = [
            {"row": row, **(next(estimates) if lacks else {})}
            for row, lacks in zip(cuts.rows.tolist(), lacking.tolist(), strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=_SCHEMA)

    return measure


def _estimated(cut: Cut, method: Method) -> dict[str, float | str]:
    try:
        return {"snr_db": estimate(read_cut(cut), method)}
    except AsrLabError as error:
        return {"fault": f"{error.what} ({error.where})"}
