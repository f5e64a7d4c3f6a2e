"""The loss of each utterance under a model: far higher than others where text and audio differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from lhotse import CutSet
from torch.nn.functional import ctc_loss

from asr_lab.data import columns
from asr_lab.data.audio_measures import Measurements, Progress
from asr_lab.data.batches import InOrder, loader
from asr_lab.data.table_utterances import Utterances
from asr_lab.models.adapter import vocabulary_digest, weights_digest
from asr_lab.models.recognizer import Recognizer
from asr_lab.units import SAMPLE_RATE

_BATCH_SIZE = 16
_SCHEMA = pa.schema([("row", pa.int64()), ("loss", pa.float64())])


def measure_losses(recognizer: Recognizer, audio: Measurements, progress: Progress) -> Measurements:
    """Compute the CTC loss per unit of text (nats) of the utterances of a manifest whose audio was measured.

    An interrupted call continues, if the model is the same. Utterances that cannot be used, or are too short for the
    model, have none.
    """
    table = audio.dataset.to_table(columns=["row", "fault"])
    usable_N = columns.durations(audio.cuts) * SAMPLE_RATE >= recognizer.min_samples
    usable_N[table["row"].filter(table["fault"].is_valid()).to_numpy()] = False
    model = f"{weights_digest(recognizer.model)}{vocabulary_digest(recognizer.units)}"
    losses = Measurements(audio.cuts, f"loss-{model[:16]}")
    losses.run(_measure(recognizer, usable_N), workers=1, progress=progress)
    return losses


def _measure(recognizer: Recognizer, usable_N: npt.NDArray[np.bool_]) -> Callable[[Utterances], pa.Table]:
    def measure(cuts: Utterances) -> pa.Table:
        part = cuts.take(np.flatnonzero(usable_N[cuts.rows]))
        by_id = losses(recognizer, CutSet(part)) if len(part) else {}
        found = [by_id.get(id) for id in columns.ids(cuts).to_pylist()]
        return pa.table([cuts.rows, found], schema=_SCHEMA)

    return measure


@torch.inference_mode()
def losses(recognizer: Recognizer, cuts: CutSet) -> dict[str, float]:
    """Return utterance id -> CTC loss per unit of text (nats), infinite if there are too few frames for the text."""
    by_id: dict[str, float] = {}
    recognizer.model.eval()
    for batch in loader(InOrder(cuts, _BATCH_SIZE), recognizer.collator(labelled=True)):
        logits_BUV, lengths_B = recognizer.logits(batch)
        log_probs_UBV = logits_BUV.float().log_softmax(dim=-1).transpose(0, 1).cpu()
        units_B = batch["label_lengths"]
        loss_B = ctc_loss(
            log_probs_UBV,
            batch["labels"].clamp(min=0),
            lengths_B.cpu(),
            units_B,
            blank=recognizer.blank,
            reduction="none",
        )
        by_id |= zip(batch["cut_ids"], (loss_B / units_B.clamp(min=1)).tolist(), strict=True)
    return by_id
