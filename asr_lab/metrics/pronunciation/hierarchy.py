"""Metrics counted as in published results on L2-ARCTIC: canonical, perceived and recognised phonemes aligned in pairs.

The counting is that of `ins_del_sub_cor_analysis.py` in cageyoko/CTC-Attention-Mispronunciation (Fu et al. 2021,
arXiv:2104.08428), after the hierarchy of Leung et al. 2019 (ICASSP, "CNN-RNN-CTC based end-to-end mispronunciation
detection and diagnosis"): phonemes that the learner inserted are errors too. On that repository's committed sequences
(900 utterances of L2-ARCTIC) it gives their figures: F1 0.4929 for CNN-RNN-CTC, 0.5594 for attention with augmentation.

Phonemes that only the recogniser inserts are not counted, so read it together with the phoneme error rate.
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
    """Return the detection metrics of an assessment table, from its column `recognised`, with insertions."""
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
    """Count the phonemes of each kind per utterance (`accepted` is TA, the two diagnoses together are TR)."""
    spoken = [perceived_sequence(*row) for row in zip(table["perceived"], table["insertions"], strict=True)]
    rows = zip(table["canonical"], spoken, table["recognised"], strict=True)
    return pd.DataFrame([count(*row) for row in rows], columns=list(_KINDS), index=table.index).fillna(0).astype(int)


def count(canonical: Sequence[str], spoken: Sequence[str], recognised: Sequence[str]) -> Counter[str]:
    """Count the perceived and the deleted phonemes of an utterance by kind."""
    expected = align(canonical, spoken)
    in_spoken = _by_reference(align(spoken, recognised))
    in_canonical = _by_reference(align(canonical, recognised))
    counts: Counter[str] = Counter()
    n = m = 0  # positions in the canonical and in the perceived sequence
    for phoneme, perceived in expected:
        if perceived is None and phoneme is not None:
            counts[_deleted_kind(phoneme, in_canonical[n])] += 1
        elif perceived is not None:
            counts[_perceived_kind(phoneme, perceived, in_spoken[m])] += 1
        n, m = n + (phoneme is not None), m + (perceived is not None)
    return counts


def _by_reference(pairs: Sequence[Pair]) -> list[str | None]:
    """Return the hypothesis of each phoneme of the reference."""
    return [other for one, other in pairs if one is not None]


def _deleted_kind(canonical: str, recognised: str | None) -> str:
    """Return the kind of a phoneme that the learner deleted."""
    if recognised is None:
        return "diagnosed"
    return "falsely_accepted" if recognised == canonical else "misdiagnosed"


def _perceived_kind(canonical: str | None, spoken: str, recognised: str | None) -> str:
    """Return the kind of a perceived phoneme; `canonical` is None if it was inserted."""
    if spoken == canonical:
        return "accepted" if recognised == spoken else "falsely_rejected"
    if recognised == spoken:
        return "diagnosed"
    return "falsely_accepted" if recognised == canonical else "misdiagnosed"
