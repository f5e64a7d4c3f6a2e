"""Transcribe a pool that the model was not trained on, and select the utterances it finds hardest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from lhotse import CutSet

from asr_lab.data import columns
from asr_lab.data.active_selection import Budget, cap_warning, select_hardest, speakers
from asr_lab.data.active_selection import transcribed as has_transcript
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import error_rates
from asr_lab.models.recognizer import Progress, Recognizer
from asr_lab.recipes.recognition.scoring import score
from asr_lab.recipes.selection.inference_cache import InferenceCache, transcribe_pool
from asr_lab.units import counted

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
    without_text = columns.ids(cuts).filter(pa.array(~has_transcript(cuts))).to_pylist()
    if by == "wer" and without_text:
        raise AsrLabError(
            f"{counted(len(without_text), 'utterance', 'have')} no transcript to compute a WER from: "
            f"{listing(without_text)}",
            allowed="--by confidence",
        )
    pool = transcribe_pool(cuts, recognizer, cache, progress)
    transcribed = take_ids(cuts, pool.by_id)
    table = _rows(transcribed)
    table[["hypothesis", "confidence"]] = [pool.by_id[id] for id in table["id"]]
    if not without_text:
        scores = score(transcribed, dict(zip(table["id"], table["hypothesis"], strict=True)), recognizer.normalizer)
        aligned = scores.set_index("id").loc[table["id"]].reset_index()
        table["reference"] = aligned["reference"]
        table["wer"] = (error_rates.word_errors(aligned) / aligned["words"].clip(lower=1)).to_numpy()
    table["difficulty"] = table["wer"] if by == "wer" else 1 - table["confidence"]
    usable = set(table["id"] if max_wer is None or "wer" not in table else table.loc[table["wer"] <= max_wer, "id"])
    candidates = take_ids(transcribed, usable)
    if not len(candidates):
        raise AsrLabError(f"every utterance has a WER above {max_wer:.0%}", allowed="a higher --max-wer")
    chosen = select_hardest(candidates, dict(zip(table["id"], table["difficulty"], strict=True)), budget)
    table["chosen"] = table["id"].isin(columns.ids(chosen).to_pylist())
    ranked = table.sort_values(["difficulty", "id"], ascending=[False, True]).drop(columns="difficulty")
    rows = pd.concat([ranked.assign(left_out=""), *_left_out_rows(cuts, pool.left_out)], ignore_index=True)
    return Selected(chosen, rows, cap_warning(candidates, chosen, budget), pool.left_out, pool.recalled)


def take_ids(cuts: CutSet, ids: Collection[str]) -> CutSet:
    """Return the utterances with these ids, in their order."""
    return columns.take(cuts, np.flatnonzero(pc.is_in(columns.ids(cuts), value_set=pa.array(list(ids), pa.string()))))


def _rows(cuts: CutSet) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": columns.ids(cuts).to_pylist(),
            "speaker": speakers(cuts),
            "duration_s": columns.durations(cuts).round(3),
        }
    )


def _left_out_rows(cuts: CutSet, left_out: dict[str, str]) -> list[pd.DataFrame]:
    """Return a table of the utterances that could not be transcribed, or no table."""
    table = _rows(take_ids(cuts, left_out))
    return [table.assign(chosen=False, left_out=[left_out[id] for id in table["id"]])] if left_out else []
