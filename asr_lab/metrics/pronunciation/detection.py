"""Which canonical phonemes were flagged as wrong, and how good that was: the canonical-anchored counting.

Each canonical phoneme counts once. The positive class is the error: a true rejection (TR) is an error that was flagged,
a false acceptance (FA) one that was not, a false rejection (FR) a correct phoneme that was flagged, a true acceptance
(TA) one that was not. Phonemes inserted between do not count here; `hierarchy` counts them.
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
    """The table with `flags` (a list of 0 and 1 an utterance) of a column of error scores, and the counts they make.

    A phoneme is flagged at its threshold or above. `diagnosed` are the true rejections of which the column `diagnosis`
    names what was said; without that column it is missing.
    """
    phonemes = by_phoneme(table, column)
    flags = phonemes[column].to_numpy() >= cut(phonemes["canonical"], threshold)
    return with_flags(table, flags.astype(np.int64))


def decoded(table: pd.DataFrame) -> pd.DataFrame:
    """As `flagged`, where what is flagged is what free recognition, aligned with the canonical phonemes, has otherwise.

    It has no threshold; what was recognised is the diagnosis.
    """
    found = [recognised_by_canonical(*row) for row in zip(table["canonical"], table["recognised"], strict=True)]
    told = table.assign(diagnosis=found)
    phonemes = by_phoneme(told, "diagnosis")
    flags = (phonemes["diagnosis"] != phonemes["canonical"]).to_numpy().astype(np.int64)
    return with_flags(told, flags)


def with_flags(table: pd.DataFrame, flags: npt.NDArray[np.int64]) -> pd.DataFrame:
    """The table with the `flags` of all its canonical phonemes in order, and the counts of each utterance."""
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
    told = table.drop(columns=[name for name in (*COUNTS, "diagnosed") if name in table])
    return told.assign(
        flags=[part.tolist() for part in np.split(flags, ends)] if len(table) else [],
        **{name: counts[name].to_numpy() for name in counts},
    )


def detection(table: pd.DataFrame, column: str = "") -> Figures:
    """The figures of a `flagged` table, None where they are undefined; `column` of scores adds ROC-AUC and PR-AUC.

    A set without errors has no F1, recall, FAR or AUC; one where nothing was flagged no precision; DER and correct
    diagnosis are shares of the true rejections. PR-AUC is the average precision.
    """
    sums = {name: int(table[name].sum()) for name in (*COUNTS, "diagnosed") if name in table}
    return {**figures(**sums), **(ranking(table, column) if column else {})}


def figures(
    true_rejects: int, false_rejects: int, false_accepts: int, true_accepts: int, diagnosed: int | None = None
) -> Figures:
    """F1, precision, recall, FAR, FRR, DER, correct diagnosis and accuracy of the four counts, None where undefined."""
    wrong, right = true_rejects + false_accepts, true_accepts + false_rejects
    told = None if diagnosed is None else ratio(diagnosed, true_rejects)
    return {
        "error_f1": ratio(2 * true_rejects, 2 * true_rejects + false_rejects + false_accepts) if wrong else None,
        "error_precision": ratio(true_rejects, true_rejects + false_rejects),
        "error_recall": ratio(true_rejects, wrong),
        "far": ratio(false_accepts, wrong),
        "frr": ratio(false_rejects, right),
        "der": None if told is None else 1 - told,
        "correct_diagnosis": told,
        "accuracy": ratio(true_rejects + true_accepts, wrong + right),
    }


def ranking(table: pd.DataFrame, column: str) -> Figures:
    """ROC-AUC and PR-AUC of a column of error scores: threshold-free; None unless there are both kinds of phonemes."""
    phonemes = by_phoneme(table, column, "errors")
    if phonemes["errors"].nunique() < 2:
        return {"roc_auc": None, "pr_auc": None}
    errors, scores = phonemes["errors"].to_numpy(), phonemes[column].to_numpy()
    return {
        "roc_auc": float(roc_auc_score(errors, scores)),
        "pr_auc": float(average_precision_score(errors, scores)),
    }


def ratio(part: int, whole: int) -> float | None:
    """The share, or None of nothing."""
    return part / whole if whole else None


def undefined(found: Mapping[str, float | None], of: str) -> str:
    """What to tell people of figures that are not there (`of` is the split); "" when all are."""
    names = [name for name, value in found.items() if value is None]
    if "error_recall" in names:
        why = "no phoneme of it is wrong"
    elif "frr" in names:
        why = "every phoneme of it is wrong"
    else:
        why = "nothing was flagged" if "error_precision" in names else "no error was flagged"
    return f"{of}: {', '.join(names)} undefined: {why}" if names else ""
