"""Compare base and adapted recogniser on the same utterances: error rates and the interval of their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import Interval, difference_interval
from asr_lab.recipes.recognition.scoring import record_scores
from asr_lab.units import counted


@dataclass(frozen=True)
class Improvement:
    """Score tables of base and adapted recogniser, one row per utterance (`recipes.recognition.scoring.score`)."""

    base: pd.DataFrame
    adapted: pd.DataFrame
    delta: Interval
    """Adapted WER minus the base's, paired; below 0 is an improvement."""

    @classmethod
    def of(cls, base: pd.DataFrame, adapted: pd.DataFrame, *, unit: str, seed: int) -> Improvement:
        """Compare two score tables; `unit` is resampled: `utterance`, or `word` for recordings of single words."""
        return cls(base, adapted, difference_interval(*_paired(base, adapted, unit), seed=seed))

    def metrics(self) -> dict[str, float]:
        """Return the metrics as they are logged."""
        return {
            "test/wer_base": error_rates.wer(self.base),
            "test/wer": error_rates.wer(self.adapted),
            "test/cer_base": error_rates.cer(self.base),
            "test/cer": error_rates.cer(self.adapted),
            "test/wer_delta": self.delta.value,
            "test/wer_delta_low": self.delta.low,
            "test/wer_delta_high": self.delta.high,
            "test/wer_delta_p": self.delta.p if self.delta.p is not None else float("nan"),
        }

    def rows(self) -> dict[str, str]:
        """Return label -> result in words."""
        wer, delta = self.metrics(), self.delta
        return {
            "WER": f"{wer['test/wer_base']:.1%} -> {wer['test/wer']:.1%} on "
            f"{counted(len(self.adapted), 'held-out utterance')}",
            "CER": f"{wer['test/cer_base']:.1%} -> {wer['test/cer']:.1%}",
            "difference": f"{delta.value:+.1%}, 95 % interval {delta.low:+.1%} to {delta.high:+.1%}",
        }

    def record(self, run: Recorder, title: str, base_uri: str) -> None:
        """Log both score tables with their pages, and the difference."""
        record_scores(run, self.adapted, "test", f"{title}, adapted ({run.name})")
        if not run.minimal:  # the same for all runs on one base
            record_scores(run, self.base, "base_test", f"{title}, base alone ({base_uri})")
        run.metrics(self.metrics())


def _paired(base: pd.DataFrame, adapted: pd.DataFrame, unit: str) -> tuple[Any, Any, Any]:
    """Return errors of base and adapter and the number of reference words, per utterance or per reference word."""
    if unit == "utterance":
        return error_rates.word_errors(base), error_rates.word_errors(adapted), base["words"]
    columns = [
        np.concatenate([error_rates.errors_by_word(r, h) for r, h in zip(t["reference"], t["hypothesis"], strict=True)])
        for t in (base, adapted)
    ]
    return columns[0], columns[1], np.ones_like(columns[0])
