"""Detection metrics by phoneme, by first language, and by speaker."""

from __future__ import annotations

import pandas as pd

from asr_lab.metrics.pronunciation.detection import COUNTS, figures
from asr_lab.metrics.pronunciation.intervals import f1_interval
from asr_lab.metrics.pronunciation.phonemes import by_phoneme
from asr_lab.metrics.pronunciation.sequences import per

FEW_ERRORS = 10  # a part with fewer is marked
_FIGURES = ("error_f1", "error_precision", "error_recall", "far", "frr", "accuracy")
_COLUMNS = ("part", "value", "utterances", "phonemes", "errors", *_FIGURES, "low", "high", "per", "few")


def parts(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per phoneme, L1 and speaker of a `flagged` table, those with most errors first.

    `part` (phoneme, l1, speaker), `value`, `utterances`, `phonemes`, `errors`, the metrics (NaN if undefined),
    `low` and `high` of F1, `per` (not for phonemes), `few`: fewer than 10 errors.
    """
    rows = [_row("phoneme", str(value), part) for value, part in _of_phonemes(table).groupby("canonical")]
    for name in ("l1", "speaker"):
        if name in table and table[name].nunique() > 1:
            rows += [_row(name, str(value), part) for value, part in table.groupby(name)]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    frame[[*_FIGURES, "low", "high", "per"]] = frame[[*_FIGURES, "low", "high", "per"]].astype(float)
    return frame.sort_values(["part", "errors", "value"], ascending=[True, False, True], ignore_index=True)


def _of_phonemes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the counts, one row per utterance and phoneme."""
    phonemes = by_phoneme(table, "errors", "flags")
    wrong, flag = phonemes["errors"] == 1, phonemes["flags"] == 1
    kinds = (wrong & flag, ~wrong & flag, wrong & ~flag, ~wrong & ~flag)
    counted = phonemes[["canonical", "row"]].assign(**dict(zip(COUNTS, kinds, strict=True)))
    return counted.groupby(["canonical", "row"]).sum().reset_index()


def _row(part: str, value: str, counts: pd.DataFrame) -> dict[str, object]:
    sums = {name: int(counts[name].sum()) for name in COUNTS}
    values, errors = figures(**sums), sums["true_rejects"] + sums["false_accepts"]
    interval = f1_interval(counts)
    return {
        "part": part,
        "value": value,
        "utterances": len(counts),
        "phonemes": sum(sums.values()),
        "errors": errors,
        **{name: values[name] for name in _FIGURES},
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "per": per(counts).value if "phone_errors" in counts else None,
        "few": errors < FEW_ERRORS,
    }
