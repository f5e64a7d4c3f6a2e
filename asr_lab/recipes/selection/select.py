"""Recognise audio that was not learned from, and take what the model finds hardest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data.active_selection import Budget, cap_warning, select_hardest
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import error_rates
from asr_lab.models.recognizer import Progress, Recognizer
from asr_lab.recipes.recognition.scoring import score
from asr_lab.recipes.selection.inference_cache import Memory, Said, hear

By = Literal["wer", "confidence"]


@dataclass(frozen=True)
class Selected:
    """What was chosen, and what of."""

    cuts: CutSet
    """The hardest utterances."""
    table: pd.DataFrame
    """A row an utterance, the hardest first: `id, speaker, duration_s, hypothesis, confidence`, with transcripts
    `reference` and `wer`, whether it was `chosen`, and why nothing could be heard of those that are `left_out`."""
    note: str
    """What the cap on a speaker cost, if anything."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Utterance id -> why it could not be heard."""
    recalled: int = 0
    """Utterances that were heard before a call like this one was cut off."""


def select(
    cuts: CutSet,
    recognizer: Recognizer,
    by: By,
    budget: Budget,
    *,
    memory: Memory,
    progress: Progress,
    max_wer: float | None = None,
) -> Selected:
    """The hardest utterances of those that can be heard; what was heard is kept in `memory` as it comes.

    By `wer` what is worse than `max_wer` is left out: its transcript is probably another's. Raises `AsrLabError` where
    transcripts are needed and some are missing, or nothing is left.
    """
    silent = [cut.id for cut in cuts if not any((one.text or "").strip() for one in cut.supervisions)]
    if by == "wer" and silent:
        raise AsrLabError(
            f"{len(silent)} utterances have no transcript to be wrong about: {listing(silent)}",
            allowed="--by confidence",
        )
    found = hear(cuts, recognizer, memory, progress)
    heard = CutSet.from_cuts(cut for cut in cuts if cut.id in found.said)
    table = pd.DataFrame([_row(cut, found.said[cut.id]) for cut in heard])
    if not silent:
        scores = score(heard, dict(zip(table["id"], table["hypothesis"], strict=True)), recognizer.normalizer)
        placed = scores.set_index("id").loc[table["id"]].reset_index()
        table["reference"] = placed["reference"]
        table["wer"] = (error_rates.word_errors(placed) / placed["words"].clip(lower=1)).to_numpy()
    table["difficulty"] = table["wer"] if by == "wer" else 1 - table["confidence"]
    usable = set(table["id"] if max_wer is None or "wer" not in table else table.loc[table["wer"] <= max_wer, "id"])
    candidates = CutSet.from_cuts(cut for cut in heard if cut.id in usable)
    if not len(candidates):
        raise AsrLabError(f"every utterance has a WER above {max_wer:.0%}", allowed="a higher --max-wer")
    chosen = select_hardest(candidates, dict(zip(table["id"], table["difficulty"], strict=True)), budget)
    table["chosen"] = table["id"].isin({cut.id for cut in chosen})
    ranked = table.sort_values(["difficulty", "id"], ascending=[False, True]).drop(columns="difficulty")
    rows = pd.concat([ranked.assign(left_out=""), *_unheard(cuts, found.left_out)], ignore_index=True)
    return Selected(chosen, rows, cap_warning(candidates, chosen, budget), found.left_out, found.recalled)


def _row(cut: Cut, said: Said | None = None) -> dict[str, object]:
    return {
        "id": cut.id,
        "speaker": next((one.speaker for one in cut.supervisions), None) or "unknown",
        "duration_s": round(cut.duration, 3),
        **(said._asdict() if said else {}),
    }


def _unheard(cuts: CutSet, left_out: dict[str, str]) -> list[pd.DataFrame]:
    """A table of what could not be heard; none where all could."""
    rows = [_row(cut) | {"chosen": False, "left_out": left_out[cut.id]} for cut in cuts if cut.id in left_out]
    return [pd.DataFrame(rows)] if rows else []
