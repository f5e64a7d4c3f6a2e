"""Measure the variants of a comparison on the same test utterances: errors, relative speed, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from lhotse import CutSet

from asr_lab.config.schema import Comparison
from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import difference_interval, holm
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.comparison.speed import Speed, batches, sample, speeds, with_memory
from asr_lab.recipes.recognition.scoring import score, wer_interval
from asr_lab.reports.markdown import code_span

_ITSELF = Speed(1.0, 1.0, 1.0)
_NO_SPEED = Speed(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Variant:
    """A variant to be measured."""

    name: str
    model: str
    """A URI, or a folder if the model is not in the tracking store yet."""
    run_id: str = ""
    run_name: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Training costs (`recipes.recognition.train.Trained`); empty for the untouched base."""


@dataclass(frozen=True)
class Measurement:
    """Accuracy and inference cost of a variant."""

    scores: pd.DataFrame
    """One row per test utterance (`recipes.recognition.scoring.score`)."""
    speed: Speed
    """Relative to the first variant, as saved: with separate adapters."""
    merged: Speed
    """The same with merged adapters; NaN without adapters."""
    memory_mb: float
    size_mb: float
    """Size of the weights on disk."""
    added_params: int
    """Parameters of separate adapters; 0 once they are merged."""
    text: str
    """Its text normaliser (`TextNormalizer.name`)."""

    def __str__(self) -> str:
        merged = f", merged {self.merged.share:.0%}" if self.added_params else ""
        return f"test/wer {error_rates.wer(self.scores):.1%}, speed {self.speed.share:.0%}{merged}"


def measure(
    folder: Path, load: Callable[[], Recognizer], cuts: CutSet, first: Recognizer | None, settings: Comparison
) -> Measurement:
    """Transcribe the test utterances with the model that `load` loads from `folder`, and time it against `first`.

    `first` is None for the first variant itself.
    """
    (recognizer, hypotheses), memory_mb = with_memory(lambda: _recognise(load(), cuts, settings.batch_size))
    scores = score(cuts, hypotheses, recognizer.normalizer)
    added = recognizer.added_params
    others = {} if first is None else {"separate": recognizer}
    if added:
        others["merged"] = _merged(load())
    timed = batches(recognizer, sample(cuts, settings.utterances), settings.batch_size)
    by_model = speeds(first or recognizer, others, timed, settings.rounds)
    size_mb = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6
    own, merged = by_model.get("separate", _ITSELF), by_model.get("merged", _NO_SPEED)
    return Measurement(scores, own, merged, memory_mb, size_mb, added, recognizer.normalizer.name)


def _recognise(recognizer: Recognizer, cuts: CutSet, batch_size: int) -> tuple[Recognizer, dict[str, str]]:
    return recognizer, recognizer.hypotheses(cuts, batch_size)


def _merged(recognizer: Recognizer) -> Recognizer:
    recognizer.merge()
    return recognizer


def table(variants: Sequence[Variant], measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return one row per variant: trained parameters, error rates with 95 % intervals, paired differences to the first
    variant (Holm-corrected p), speed relative to the first variant, memory and time."""
    rows = pd.DataFrame(
        [_row(variant, one, measurements[0]) for variant, one in zip(variants, measurements, strict=True)]
    )
    tested = rows["p"].notna()
    rows.loc[tested, "p"] = holm(rows.loc[tested, "p"].tolist())
    return rows


def _row(variant: Variant, one: Measurement, first: Measurement) -> dict[str, Any]:
    wer, costs = wer_interval(one.scores), variant.costs
    return {
        "arm": variant.name,
        "run": variant.run_name,
        "trainable_params": int(costs.get("model/trainable_params", 0)),
        "added_params": int(costs.get("model/added_params", one.added_params)),
        "wer": wer.value,
        "wer_low": wer.low,
        "wer_high": wer.high,
        **_difference(one, first),
        "cer": error_rates.cer(one.scores),
        "speed_share": one.speed.share,
        "speed_share_low": one.speed.low,
        "speed_share_high": one.speed.high,
        "merged_speed_share": one.merged.share,
        "memory_mb": one.memory_mb,
        "training_memory_mb": costs.get("perf/peak_gpu_memory_mb", costs.get("perf/peak_memory_mb")),
        "training_s": costs.get("perf/seconds"),
        "size_mb": one.size_mb,
    }


def _difference(one: Measurement, first: Measurement) -> dict[str, float | None]:
    """Return the columns of the paired difference; empty for the first variant and for another text normaliser."""
    columns = ("difference", "difference_low", "difference_high", "p")
    if one is first or one.text != first.text:
        return dict.fromkeys(columns)
    before, after = (error_rates.word_errors(side.scores).to_numpy() for side in (first, one))
    interval = difference_interval(before, after, one.scores["words"].to_numpy())
    return dict(zip(columns, (interval.value, interval.low, interval.high, interval.p), strict=True))


def sentences(rows: pd.DataFrame) -> list[str]:
    """Return one line per variant, for the run's description."""
    lines = []
    for row in rows.itertuples():
        trained = f"{row.trainable_params:,} parameters trained" if row.trainable_params else "untouched"
        difference = "" if pd.isna(row.difference) else f", difference {row.difference:+.1%}, p {row.p:.3g}"
        run = f"; {code_span(row.run)}" if row.run else ""
        lines.append(
            f"- **{row.arm}**: test/wer {row.wer:.1%} ({row.wer_low:.1%} to {row.wer_high:.1%}){difference}; "
            f"speed {row.speed_share:.0%}; {trained}{run}"
        )
    return lines
