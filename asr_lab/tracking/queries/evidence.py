"""Significance of differences between runs: paired bootstrap on the same utterances."""

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
    """Differences of runs from a baseline in a metric, with intervals and p-values."""

    metric: str
    baseline: Run
    differences: pd.DataFrame
    """Indexed by the runs' ids: `difference` to the baseline, `low` and `high` of its 95 % interval, `p` corrected for
    the number of comparisons."""
    silent: dict[str, str] = field(default_factory=dict)
    """Run id -> why there is no verdict, even if there is a difference."""


def measure_differences(
    runs: Sequence[Run],
    metric: str,
    baseline: Run,
    on_run: Callable[[], object] = lambda: None,
    *,
    chosen: bool = False,
) -> Evidence:
    """Measure each run's difference from the baseline on the same utterances; call `on_run` after each.

    p is corrected by Holm. `chosen`: the baseline is the best of the k runs on these utterances, so p is multiplied by
    k / 2, as for all k (k - 1) / 2 pairs. Raises `AsrLabError` if the baseline has no utterances.
    """
    split, rate = metric.partition("/")[0], ratios.rate_of(metric)
    if not rate:
        raise AsrLabError(
            f"{metric} is not computed per utterance: its differences have no interval",
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
    """Return the difference, and the number of utterances that differ."""
    table = pair(own, baseline, utterances(run, split), run, split)
    return ratios.difference(own, table, rate)


def pair(own: pd.DataFrame, baseline: Run, table: pd.DataFrame, run: Run, split: str) -> pd.DataFrame:
    """Return `table` in the order of `own`; raises `AsrLabError` if utterances or transcripts differ."""
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
    """Return sentences: which runs are significantly better or worse than the baseline, and which are not."""
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
