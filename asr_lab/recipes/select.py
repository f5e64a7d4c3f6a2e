"""Recognise audio that was not learned from, and take what the model finds hardest."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from lhotse import CutSet

from asr_lab.data.selection import Budget, cut_short, hardest
from asr_lab.decoding.greedy import confidence
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import error_rates
from asr_lab.models.recognizer import Progress, Recognizer
from asr_lab.recipes.common import score

By = Literal["wer", "confidence"]


def select(
    cuts: CutSet,
    recognizer: Recognizer,
    by: By,
    budget: Budget,
    *,
    max_wer: float | None = None,
    progress: Progress | None = None,
) -> tuple[CutSet, pd.DataFrame, str]:
    """The hardest utterances; a row for each that was heard, the hardest first: `id, speaker, duration_s,
    hypothesis, confidence`, with transcripts `reference` and `wer`, and whether it was `chosen`; and what the cap on a
    speaker cost, if anything.

    By `wer` what is worse than `max_wer` is left out: its transcript is probably another's. Raises `AsrLabError` where
    transcripts are needed and some are missing, or nothing is left.
    """
    silent = [cut.id for cut in cuts if not any((one.text or "").strip() for one in cut.supervisions)]
    if by == "wer" and silent:
        raise AsrLabError(
            f"{len(silent)} utterances have no transcript to be wrong about: {listing(silent)}",
            allowed="--by confidence",
        )
    table = _heard(cuts, recognizer, progress)
    if not silent:
        scores = score(cuts, dict(zip(table["id"], table["hypothesis"], strict=True)), recognizer.normalizer)
        placed = scores.set_index("id").loc[table["id"]].reset_index()
        table["reference"] = placed["reference"]
        table["wer"] = (error_rates.word_errors(placed) / placed["words"].clip(lower=1)).to_numpy()
    table["difficulty"] = table["wer"] if by == "wer" else 1 - table["confidence"]
    usable = set(table["id"] if max_wer is None or "wer" not in table else table.loc[table["wer"] <= max_wer, "id"])
    candidates = CutSet.from_cuts(cut for cut in cuts if cut.id in usable)
    if not len(candidates):
        raise AsrLabError(f"every utterance has a WER above {max_wer:.0%}", allowed="a higher --max-wer")
    chosen = hardest(candidates, dict(zip(table["id"], table["difficulty"], strict=True)), budget)
    table["chosen"] = table["id"].isin({cut.id for cut in chosen})
    ranked = table.sort_values(["difficulty", "id"], ascending=[False, True]).drop(columns="difficulty")
    return chosen, ranked.reset_index(drop=True), cut_short(candidates, chosen, budget)


def _heard(cuts: CutSet, recognizer: Recognizer, progress: Progress | None) -> pd.DataFrame:
    found: dict[str, tuple[str, float]] = {}
    for ids, logits, lengths in recognizer.heard(cuts, progress=progress):
        texts, sure = recognizer.decode(logits, lengths), confidence(logits, lengths, recognizer.blank)
        found |= zip(ids, zip(texts, sure, strict=True), strict=True)
    rows = [
        {
            "id": cut.id,
            "speaker": next((one.speaker for one in cut.supervisions), None) or "unknown",
            "duration_s": round(cut.duration, 3),
            "hypothesis": found[cut.id][0],
            "confidence": found[cut.id][1],
        }
        for cut in cuts
    ]
    return pd.DataFrame(rows)
