"""Changes from one run to another, utterance by utterance."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from asr_lab.errors import AsrLabError
from asr_lab.metrics import ratios
from asr_lab.metrics.catalog import direction
from asr_lab.metrics.significance import Interval
from asr_lab.tracking.queries.evidence import pair
from asr_lab.tracking.queries.run_set import deciding_metric
from asr_lab.tracking.queries.runs import Run
from asr_lab.tracking.queries.score_tables import scored_splits, utterances


@dataclass(frozen=True, kw_only=True)
class UtteranceChanges:
    """Errors of two runs on the same utterances."""

    names: tuple[str, str]
    metric: str
    frame: pd.DataFrame
    """`id, reference, hypothesis_1, hypothesis_2, errors_1, errors_2, change`, largest changes first."""
    before: float
    """Error rate of the first run."""
    after: float
    difference: Interval


def utterance_changes(first: Run, second: Run, metric: str) -> UtteranceChanges:
    """Compare two runs utterance by utterance in an error rate; "" selects one that both have.

    Raises `AsrLabError` if their data differ, or if the metric does not count errors of utterances.
    """
    rate_name = _error_rate(first, second, metric)
    split, _, rate = rate_name.partition("/")
    own, theirs = utterances(first, split), utterances(second, split)
    try:
        theirs = pair(own, first, theirs, second, split)
    except AsrLabError as error:
        names = f"{first.info.run_name} and {second.info.run_name}"
        raise AsrLabError(f"{names} were {error.what}: no winner is called", where=error.where) from error
    errors_1, lengths = ratios.counts(own, rate)
    errors_2, _ = ratios.counts(theirs, rate)
    changes = pd.DataFrame(
        {
            "id": own["id"],
            "reference": own["reference"],
            "hypothesis_1": own["hypothesis"],
            "hypothesis_2": theirs["hypothesis"],
            "errors_1": errors_1,
            "errors_2": errors_2,
            "change": errors_2 - errors_1,
        }
    )
    order = changes["change"].abs().sort_values(ascending=False, kind="stable").index
    total = max(int(lengths.sum()), 1)
    difference, _ = ratios.difference(own, theirs, rate)
    return UtteranceChanges(
        names=(str(first.info.run_name), str(second.info.run_name)),
        metric=rate_name,
        frame=changes.loc[order],
        before=errors_1.sum() / total,
        after=errors_2.sum() / total,
        difference=difference,
    )


def _error_rate(first: Run, second: Run, wanted: str) -> str:
    """Return the error rate to compare: `wanted`, the deciding one, or one of a split of both runs."""
    decides = deciding_metric([second, first], wanted)
    if not wanted:
        rate = ratios.rate_of(decides)
        if rate and direction(decides) == "higher":  # F1 has no errors per utterance, but PER has
            decides = f"{decides.partition('/')[0]}/per"
        both = scored_splits(first) & scored_splits(second)
        if both and decides.partition("/")[0] not in both:
            decides = f"{'test' if 'test' in both else min(both)}/{ratios.rate_of(decides) or 'wer'}"
    if not ratios.rate_of(decides) or direction(decides) != "lower":
        raise AsrLabError(
            f"{decides or 'nothing'} does not count the errors of single utterances",
            allowed="--metric test/wer, test/cer or test/per",
        )
    return decides
