"""Whether a difference between runs is more than chance: paired bootstrap on the utterances that both recognised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd
from mlflow.entities import Run

from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import ratios
from asr_lab.metrics.catalog import direction
from asr_lab.metrics.significance import FEWEST_DIFFERING, Interval, holm
from asr_lab.tracking.queries.score_tables import utterances
from asr_lab.tracking.tags import DATA, TEXT

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Evidence:
    """How sure it is that runs differ from a baseline in a metric."""

    metric: str
    baseline: Run
    differences: pd.DataFrame
    """Indexed by the runs' ids: `difference` to the baseline, `low` and `high` of its 95 % interval, `p` corrected for
    the number of comparisons."""
    silent: dict[str, str] = field(default_factory=dict)
    """Run id -> why nothing can be said of it, also of one whose difference is there."""


def measure_differences(
    runs: Sequence[Run],
    metric: str,
    baseline: Run,
    on_run: Callable[[], object] = lambda: None,
    *,
    chosen: bool = False,
) -> Evidence:
    """Each run's difference to the baseline on the same utterances. `on_run` is called after each.

    p is corrected by Holm. `chosen` says that the baseline is the best of the k runs on these same utterances: any of
    their k (k - 1) / 2 pairs might have been tested then, and p is k / 2 times as large. Raises `AsrLabError` when the
    baseline has no utterances to compare on.
    """
    split, rate = metric.partition("/")[0], ratios.rate_of(metric)
    if not rate:
        raise AsrLabError(
            f"{metric} is not a figure of single utterances: its differences have no interval",
            allowed=f"val/ or test/ with one of {', '.join(ratios.RATIOS)}",
        )
    own = utterances(baseline, split)
    intervals: dict[str, Interval] = {}
    silent: dict[str, str] = {}
    for run in runs:
        if run.info.run_id != baseline.info.run_id:
            try:
                intervals[run.info.run_id], num_differing = _difference(own, baseline, run, split, rate)
                if 0 < num_differing < FEWEST_DIFFERING:
                    silent[run.info.run_id] = f"too few utterances differ to tell ({num_differing})"
            except AsrLabError as error:
                silent[run.info.run_id] = error.what
        on_run()
    columns = ["difference", "low", "high", "p"]
    pairs = max(1.0, (len(intervals) + 1) / 2) if chosen else 1.0
    p_values = holm([1.0 if interval.p is None else min(1.0, interval.p * pairs) for interval in intervals.values()])
    rows = [[one.value, one.low, one.high, p] for one, p in zip(intervals.values(), p_values, strict=True)]
    return Evidence(metric, baseline, pd.DataFrame(rows, index=list(intervals), columns=columns, dtype=float), silent)


def _difference(own: pd.DataFrame, baseline: Run, run: Run, split: str, rate: str) -> tuple[Interval, int]:
    """(The difference, on how many utterances there is one)."""
    table = pair(own, baseline, utterances(run, split), run, split)
    return ratios.difference(own, table, rate)


def pair(own: pd.DataFrame, baseline: Run, table: pd.DataFrame, run: Run, split: str) -> pd.DataFrame:
    """`table` in the order of `own`; raises `AsrLabError` when they are not of the same utterances and transcripts."""
    for tag, what in ((DATA + split, f"data ({split})"), (TEXT, "text normalisation")):
        values = [one.data.tags.get(tag) for one in (baseline, run)]
        if values[0] != values[1]:
            raise AsrLabError(f"evaluated on different {what}", where=f"{tag}: {values[0]}, {values[1]}")
    placed = table.set_index("id").reindex(own["id"])
    if len(table) != len(own) or placed["reference"].isna().any():
        raise AsrLabError("evaluated on other utterances")
    if (placed["reference"].to_numpy() != own["reference"].to_numpy()).any():
        raise AsrLabError("evaluated against other transcripts")
    return placed.reset_index()


def summarize(evidence: Evidence, names: dict[str, str]) -> list[str]:
    """What the evidence says, in sentences: who is significantly better or worse than the baseline, who is not."""
    table = evidence.differences.drop(index=list(evidence.silent), errors="ignore")
    baseline = evidence.baseline.info.run_name
    sure = table["p"] < SIGNIFICANT
    improvement = table["difference"] if direction(evidence.metric) == "higher" else -table["difference"]
    kinds = (
        (f"significantly better than {baseline}", table[sure & (improvement > 0)]),
        (f"significantly worse than {baseline}", table[sure & (improvement < 0)]),
        (f"not significantly different from {baseline}", table[~sure]),
    )
    lines = [
        f"{what} in {evidence.metric}: {listing((names[run_id] for run_id in part.index), 4)}"
        for what, part in kinds
        if len(part)
    ]
    by_reason: dict[str, list[str]] = {}
    for run_id, reason in evidence.silent.items():
        by_reason.setdefault(reason, []).append(names[run_id])
    return lines + [f"no winner is called, {reason}: {listing(who, 4)}" for reason, who in by_reason.items()]
