"""Detection of mispronounced canonical phonemes: flags and their metrics, counted per canonical phoneme.

Each canonical phoneme counts once. The positive class is the error: a true rejection (TR) is an error that was flagged,
a false acceptance (FA) one that was not, a false rejection (FR) a correct phoneme that was flagged, a true acceptance
(TA) one that was not. Inserted phonemes are not counted here; `hierarchy` counts them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from asr_lab.metrics.pronunciation.phonemes import by_phoneme
from asr_lab.metrics.pronunciation.sequences import recognised_by_canonical
from asr_lab.metrics.pronunciation.thresholds import Threshold, cut

SCORER = "canonical-anchored"
COUNTS = ("true_rejects", "false_rejects", "false_accepts", "true_accepts")

Figures = dict[str, float | None]


def flagged(table: pd.DataFrame, column: str, threshold: Threshold) -> pd.DataFrame:
    """Add `flags` (a list of 0 and 1 per utterance) from a column of error scores, and their counts.

    A phoneme is flagged at its threshold or above. `diagnosed` counts the true rejections whose `diagnosis` is the
    perceived phoneme; without the column `diagnosis` it is missing.
    """
    phonemes = by_phoneme(table, column)
    flags = phonemes[column].to_numpy() >= cut(phonemes["canonical"], threshold)
    return with_flags(table, flags.astype(np.int64))


def decoded(table: pd.DataFrame) -> pd.DataFrame:
    """Like `flagged`, but flag each canonical phoneme that differs from free recognition aligned with it.

    It has no threshold; the recognised phoneme is the diagnosis.
    """
    diagnoses = [recognised_by_canonical(*row) for row in zip(table["canonical"], table["recognised"], strict=True)]
    diagnosed = table.assign(diagnosis=diagnoses)
    phonemes = by_phoneme(diagnosed, "diagnosis")
    flags = (phonemes["diagnosis"] != phonemes["canonical"]).to_numpy().astype(np.int64)
    return with_flags(diagnosed, flags)


def with_flags(table: pd.DataFrame, flags: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Add the `flags` of all canonical phonemes, given in order, and the counts of each utterance."""
    known = [name for name in ("errors", "perceived", "diagnosis") if name in table]
    phonemes = by_phoneme(table, *known).assign(flags=flags)
    wrong, flag = phonemes["errors"] == 1, phonemes["flags"] == 1
    kinds = {
        "true_rejects": wrong & flag,
        "false_rejects": ~wrong & flag,
        "false_accepts": wrong & ~flag,
        "true_accepts": ~wrong & ~flag,
    }
    if "diagnosis" in phonemes:
        kinds["diagnosed"] = wrong & flag & (phonemes["diagnosis"] == phonemes["perceived"])
    counts = pd.DataFrame(kinds).groupby(phonemes["row"]).sum().reindex(range(len(table)), fill_value=0)
    ends = np.cumsum([len(row) for row in table["canonical"]])[:-1]
    bare = table.drop(columns=[name for name in (*COUNTS, "diagnosed") if name in table])
    return bare.assign(
        flags=[part.tolist() for part in np.split(flags, ends)] if len(table) else [],
        **{name: counts[name].to_numpy() for name in counts},
    )


def detection(table: pd.DataFrame, column: str = "") -> Figures:
    """Return the metrics of a `flagged` table, None if undefined; a `column` of scores adds ROC-AUC and PR-AUC.

    F1, recall, FAR and AUC are undefined without errors, precision if nothing was flagged; DER and correct diagnosis
    are shares of the true rejections. PR-AUC is the average precision.
    """
    sums = {name: int(table[name].sum()) for name in (*COUNTS, "diagnosed") if name in table}
    return {**figures(**sums), **(ranking(table, column) if column else {})}


def figures(
    true_rejects: int, false_rejects: int, false_accepts: int, true_accepts: int, diagnosed: int | None = None
) -> Figures:
    """Return F1, precision, recall, FAR, FRR, DER, correct diagnosis and accuracy of the counts, None if undefined."""
    wrong, right = true_rejects + false_accepts, true_accepts + false_rejects
    correct_diagnosis = None if diagnosed is None else ratio(diagnosed, true_rejects)
    return {
        "error_f1": ratio(2 * true_rejects, 2 * true_rejects + false_rejects + false_accepts) if wrong else None,
        "error_precision": ratio(true_rejects, true_rejects + false_rejects),
        "error_recall": ratio(true_rejects, wrong),
        "far": ratio(false_accepts, wrong),
        "frr": ratio(false_rejects, right),
        "der": None if correct_diagnosis is None else 1 - correct_diagnosis,
        "correct_diagnosis": correct_diagnosis,
        "accuracy": ratio(true_rejects + true_accepts, wrong + right),
    }


def ranking(table: pd.DataFrame, column: str) -> Figures:
    """Return ROC-AUC and PR-AUC of a column of error scores; None unless there are correct and wrong phonemes."""
    phonemes = by_phoneme(table, column, "errors")
    if phonemes["errors"].nunique() < 2:
        return {"roc_auc": None, "pr_auc": None}
    errors, scores = phonemes["errors"].to_numpy(), phonemes[column].to_numpy()
    return {
        "roc_auc": float(roc_auc_score(errors, scores)),
        "pr_auc": float(average_precision_score(errors, scores)),
    }


def ratio(part: int, whole: int) -> float | None:
    """Return part / whole; None if whole is 0."""
    return part / whole if whole else None


def undefined(values: Mapping[str, float | None], split: str) -> str:
    """Explain which metrics of a split are undefined and why; "" if all are defined."""
    names = [name for name, value in values.items() if value is None]
    if "error_recall" in names:
        why = "it has no mispronounced phoneme"
    elif "frr" in names:
        why = "it has no correct phoneme"
    else:
        why = "nothing was flagged" if "error_precision" in names else "no error was flagged"
    return f"{split}: {', '.join(names)} undefined: {why}" if names else ""
