"""The counting of published results on L2-ARCTIC: canonical, said and recognised phonemes aligned pair by pair.

It is that of `ins_del_sub_cor_analysis.py` in cageyoko/CTC-Attention-Mispronunciation (Fu et al. 2021,
arXiv:2104.08428), after the hierarchy of Leung et al. 2019 (ICASSP, "CNN-RNN-CTC based end-to-end mispronunciation
detection and diagnosis"): phonemes that the learner inserted are errors too. On that repository's committed sequences
(900 utterances of L2-ARCTIC) it gives their figures: F1 0.4929 for CNN-RNN-CTC, 0.5594 for attention with augmentation.

Phonemes that only the recogniser inserts are never counted: read it with the phoneme error rate beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from asr_lab.metrics.pronunciation.detection import Figures, figures
from asr_lab.metrics.pronunciation.sequences import Pair, align, perceived_sequence

SCORER = "hierarchy"

_KINDS = ("accepted", "falsely_rejected", "falsely_accepted", "diagnosed", "misdiagnosed")


def hierarchy(table: pd.DataFrame) -> Figures:
    """The figures of detection of an assessment table, of its column `recognised`, insertions counted."""
    counts = hierarchy_counts(table).sum()
    rejected = int(counts["diagnosed"] + counts["misdiagnosed"])
    return figures(
        rejected,
        int(counts["falsely_rejected"]),
        int(counts["falsely_accepted"]),
        int(counts["accepted"]),
        int(counts["diagnosed"]),
    )


def hierarchy_counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many phonemes of each utterance are of each kind (`accepted` is TA, the two diagnoses together are TR)."""
    spoken = [perceived_sequence(*row) for row in zip(table["perceived"], table["insertions"], strict=True)]
    rows = zip(table["canonical"], spoken, table["recognised"], strict=True)
    return pd.DataFrame([count(*row) for row in rows], columns=list(_KINDS), index=table.index).fillna(0).astype(int)


def count(canonical: Sequence[str], spoken: Sequence[str], recognised: Sequence[str]) -> Counter[str]:
    """The phonemes of an utterance by kind: each that was said, and each that was left out."""
    expected = align(canonical, spoken)
    in_said = _by_reference(align(spoken, recognised))
    in_canonical = _by_reference(align(canonical, recognised))
    found: Counter[str] = Counter()
    n = m = 0  # places in the canonical sequence, and in what was said
    for phoneme, said_one in expected:
        if said_one is None and phoneme is not None:
            found[_left_out(phoneme, in_canonical[n])] += 1
        elif said_one is not None:
            found[_said(phoneme, said_one, in_said[m])] += 1
        n, m = n + (phoneme is not None), m + (said_one is not None)
    return found


def _by_reference(pairs: Sequence[Pair]) -> list[str | None]:
    """What the hypothesis has for each phoneme of the reference."""
    return [other for one, other in pairs if one is not None]


def _left_out(canonical: str, recognised: str | None) -> str:
    """The kind of a phoneme that the learner left out."""
    if recognised is None:
        return "diagnosed"
    return "falsely_accepted" if recognised == canonical else "misdiagnosed"


def _said(canonical: str | None, spoken: str, recognised: str | None) -> str:
    """The kind of a phoneme that was said, for a canonical one or (None) inserted."""
    if spoken == canonical:
        return "accepted" if recognised == spoken else "falsely_rejected"
    if recognised == spoken:
        return "diagnosed"
    return "falsely_accepted" if recognised == canonical else "misdiagnosed"
