"""Transcribe a pool that the model was not trained on, and select the utterances it finds hardest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data.active_selection import Budget, cap_warning, is_transcribed, select_hardest
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import error_rates
from asr_lab.models.recognizer import Progress, Recognizer
from asr_lab.recipes.recognition.scoring import score
from asr_lab.recipes.selection.inference_cache import InferenceCache, Prediction, transcribe_pool

By = Literal["wer", "confidence"]


@dataclass(frozen=True)
class Selected:
    """A selection from a pool."""

    cuts: CutSet
    """The hardest utterances."""
    table: pd.DataFrame
    """One row per utterance, the hardest first: `id, speaker, duration_s, hypothesis, confidence`, `chosen`,
    `reference` and `wer` where there are transcripts, and in `left_out` why an utterance could not be transcribed."""
    note: str
    """The effect of the cap per speaker, if any."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Utterance id -> why it could not be transcribed."""
    recalled: int = 0
    """Number of utterances transcribed by an interrupted call before this one."""


def select(
    cuts: CutSet,
    recognizer: Recognizer,
    by: By,
    budget: Budget,
    *,
    cache: InferenceCache,
    progress: Progress,
    max_wer: float | None = None,
) -> Selected:
    """Select the hardest utterances within `budget`; predictions are saved in `cache` batch by batch.

    Utterances with a WER above `max_wer` are not selected: their transcript is probably wrong. Raise `AsrLabError` if
    `by` is `wer` and transcripts are missing, or if no candidate is left.
    """
    without_text = [cut.id for cut in cuts if not is_transcribed(cut)]
    if by == "wer" and without_text:
        raise AsrLabError(
            f"{len(without_text)} utterances have no transcript to compute a WER from: {listing(without_text)}",
            allowed="--by confidence",
        )
    pool = transcribe_pool(cuts, recognizer, cache, progress)
    transcribed = CutSet.from_cuts(cut for cut in cuts if cut.id in pool.by_id)
    table = pd.DataFrame([_row(cut, pool.by_id[cut.id]) for cut in transcribed])
    if not without_text:
        scores = score(transcribed, dict(zip(table["id"], table["hypothesis"], strict=True)), recognizer.normalizer)
        aligned = scores.set_index("id").loc[table["id"]].reset_index()
        table["reference"] = aligned["reference"]
        table["wer"] = (error_rates.word_errors(aligned) / aligned["words"].clip(lower=1)).to_numpy()
    table["difficulty"] = table["wer"] if by == "wer" else 1 - table["confidence"]
    usable = set(table["id"] if max_wer is None or "wer" not in table else table.loc[table["wer"] <= max_wer, "id"])
    candidates = CutSet.from_cuts(cut for cut in transcribed if cut.id in usable)
    if not len(candidates):
        raise AsrLabError(f"every utterance has a WER above {max_wer:.0%}", allowed="a higher --max-wer")
    chosen = select_hardest(candidates, dict(zip(table["id"], table["difficulty"], strict=True)), budget)
    table["chosen"] = table["id"].isin({cut.id for cut in chosen})
    ranked = table.sort_values(["difficulty", "id"], ascending=[False, True]).drop(columns="difficulty")
    rows = pd.concat([ranked.assign(left_out=""), *_left_out_rows(cuts, pool.left_out)], ignore_index=True)
    return Selected(chosen, rows, cap_warning(candidates, chosen, budget), pool.left_out, pool.recalled)


def _row(cut: Cut, prediction: Prediction | None = None) -> dict[str, object]:
    return {
        "id": cut.id,
        "speaker": next((one.speaker for one in cut.supervisions), None) or "unknown",
        "duration_s": round(cut.duration, 3),
        **(prediction._asdict() if prediction else {}),
    }


def _left_out_rows(cuts: CutSet, left_out: dict[str, str]) -> list[pd.DataFrame]:
    """Return a table of the utterances that could not be transcribed, or no table."""
    rows = [_row(cut) | {"chosen": False, "left_out": left_out[cut.id]} for cut in cuts if cut.id in left_out]
    return [pd.DataFrame(rows)] if rows else []
