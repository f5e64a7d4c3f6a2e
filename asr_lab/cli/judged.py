"""A comparison with what may be said of it: who is best, how sure that is, and why nothing can be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from asr_lab.cli.options import console
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics.ratios import rate_of
from asr_lab.reports.numbers import format_metric, format_value
from asr_lab.reports.table import Table
from asr_lab.tracking import compare, runs
from asr_lab.tracking.evidence import Evidence, evidence, verdict
from asr_lab.tracking.runs import Run

_BY_ITSELF = 20  # runs up to which every comparison is tested against the best


@dataclass
class Judged:
    """A table of runs, or of groups of them, and the sentences underneath."""

    found: Sequence[Run]
    metric: str
    """By which the rows are ranked; "" when nothing decides."""
    table: pd.DataFrame
    best: dict[str, Any] = field(default_factory=dict)
    """Metric -> index of the best row."""
    sentences: list[str] = field(default_factory=list)
    evidence: Evidence | None = None

    def ranked(self) -> list[Run]:
        """The runs in the order of the table."""
        order = {run_id: place for place, run_id in enumerate(self.table.index)}
        return sorted(self.found, key=lambda run: order.get(run.info.run_id, len(order)))

    def for_people(self) -> Table:
        """The table with intervals and deviations in one cell beside their figure."""
        table = self.table.copy()
        for column in [name for name in table if str(name).endswith(compare.STD)]:
            mean = str(column).removesuffix(compare.STD)
            pairs = zip(table[mean].tolist(), table.pop(column).tolist(), strict=True)
            table[mean] = [_with_spread(mean, value, spread) for value, spread in pairs]
        if self.evidence:
            bounds = zip(table.pop("low").tolist(), table.pop("high").tolist(), strict=True)
            texts = [f"{low:+.1%} to {high:+.1%}" if low == low else "-" for low, high in bounds]
            table.insert(list(table).index("difference") + 1, "95 % interval", texts)
            table["p"] = [format_value(p, "p") for p in table["p"].tolist()]
        return Table(frame=table, best=self.best, formats={"difference": "change"})


def _with_spread(column: str, value: float, spread: float) -> str:
    figure = format_metric(column, value)
    return figure if pd.isna(spread) else f"{figure} ± {format_metric(column, spread).lstrip('+')}"


def judge(found: Sequence[Run], *, metric: str, vs: str, by: Sequence[str], ways: bool) -> Judged:
    """Compare the runs: as they are, as ways of training, or in groups that are alike in the parameters `by`."""
    if ways:
        table = compare.ways(found)
        best, reasons = compare.best_of(table, found)
        judged = Judged(found, metric or compare.deciding_metric(found), table, best)
        judged.sentences = [*_best(judged), *reasons]
        return judged
    baseline = runs.one(vs) if vs not in ("", "best") else None
    if baseline and baseline.info.run_id not in {run.info.run_id for run in found}:
        found = [*found, baseline]
    decides = compare.deciding_metric(found, metric)
    return _groups(found, by, decides) if by else _rows(found, decides, vs, baseline)


def _groups(found: Sequence[Run], by: Sequence[str], decides: str) -> Judged:
    table, within, fewer = compare.grouped(found, by, decides)
    best, reasons = compare.best_of(table, found)
    judged = Judged(found, decides, table, best)
    named = {column: ", ".join(f"{key}={table.loc[row, key]}" for key in by) for column, row in best.items()}
    judged.sentences = [f"best mean {column}: {name}" for column, name in named.items()] + reasons
    if within:
        judged.sentences.append(f"runs of one group differ in more than the seed: {listing(within, 6)}")
    if fewer:
        judged.sentences.append(f"means of fewer than n runs: {listing(fewer, 4)}")
    return judged


def _rows(found: Sequence[Run], decides: str, vs: str, baseline: Run | None) -> Judged:
    table = compare.comparison(found, decides)
    best, reasons = compare.best_of(table, found)
    judged = Judged(found, decides, table, best)
    judged.sentences = [*_best(judged), *reasons, *_lacking(found, decides)]
    having = [run for run in found if decides in run.data.metrics]
    testable = bool(rate_of(decides)) and len(having) > 1
    if vs or (testable and decides in best and len(having) <= _BY_ITSELF):
        by_id = {run.info.run_id: run for run in found}
        if baseline is None and decides not in best:
            raise AsrLabError("there is no best run to compare with" + "".join(f"; {reason}" for reason in reasons))
        _test(judged, having, baseline or by_id[best[decides]], must=bool(vs), chosen=baseline is None)
    return judged


def _test(judged: Judged, having: Sequence[Run], baseline: Run, *, must: bool, chosen: bool) -> None:
    """Add the evidence against the baseline; `must`: it was asked for, so that it cannot be had is a mistake;
    `chosen`: it is the baseline because it is the best."""
    from rich.progress import Progress

    try:
        say = console(stderr=True)
        with Progress(console=say, transient=True, disable=not say.is_terminal) as bar:
            task = bar.add_task("comparing utterances", total=len(having))
            judged.evidence = evidence(having, judged.metric, baseline, lambda: bar.advance(task), chosen=chosen)
    except AsrLabError as error:
        if must:
            raise
        judged.sentences.append(f"no significance: {baseline.info.run_name}: {error.what}")
        return
    found = judged.evidence
    judged.table = judged.table.join(found.differences)
    names = {run.info.run_id: str(run.info.run_name) for run in having}
    judged.sentences += verdict(found, names)


def _best(judged: Judged) -> list[str]:
    return [f"best {column}: {listing(_as_good(judged.table, column, row), 4)}" for column, row in judged.best.items()]


def _as_good(table: pd.DataFrame, column: str, row: Any) -> list[str]:
    """The names of the best row and of those that have the very same figure."""
    tied = table[table[column] == table.loc[row, column]].drop(index=row)
    return [str(name) for name in (table.loc[row, "run"], *tied["run"])]


def _lacking(found: Sequence[Run], decides: str) -> list[str]:
    if not decides:
        return ["none of these runs has a metric that decides for its family"]
    names = [run.info.run_name for run in found if decides not in run.data.metrics]
    return [f"without {decides}: {listing(names, 4)}"] if names else []
