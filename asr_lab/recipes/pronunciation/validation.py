"""Validation metrics after each epoch of pronunciation training, and printed examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from transformers import TrainerCallback

from asr_lab.data import manifest
from asr_lab.data.batches import InOrder, for_model, loader
from asr_lab.data.pronunciation import pronunciation
from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics.pronunciation import phone_errors
from asr_lab.metrics.pronunciation.sequences import recognised_by_canonical
from asr_lab.models.pronunciation.assessor import Assessor, decode_phonemes
from asr_lab.system.distributed import rank_and_world_size
from asr_lab.system.files import write_text
from asr_lab.system.terminal import Console

_BINS = 500  # of the probability of an error; their bounds are the candidate thresholds


@dataclass(frozen=True)
class PronunciationSums:
    """Sums over utterances: loss, recognition errors, and histograms of error scores of correct and wrong phonemes.

    Histograms add up over ranks; the best F1 over thresholds between bins is computed from them.
    """

    loss: float
    utterances: float
    phone_errors: float
    phones: float
    right: Sequence[float]
    wrong: Sequence[float]

    def numbers(self) -> list[float]:
        return [self.loss, self.utterances, self.phone_errors, self.phones, *self.right, *self.wrong]

    @classmethod
    def of(cls, numbers: list[float]) -> Self:
        loss, utterances, phone_errors, phones, *bins = numbers
        return cls(loss, utterances, phone_errors, phones, bins[:_BINS], bins[_BINS:])

    def metrics(self) -> dict[str, float]:
        """Return `eval_loss`, `eval_per`, and with any error `eval_error_f1` at its best threshold."""
        values = {
            "eval_loss": self.loss / max(self.utterances, 1),
            "eval_per": self.phone_errors / max(self.phones, 1),
        }
        f1 = best_f1(np.asarray(self.right), np.asarray(self.wrong))
        return values if f1 is None else {**values, "eval_error_f1": f1}


def best_f1(right: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]) -> float | None:
    """Return the best F1 of the error class over thresholds between bins of both histograms; None without errors."""
    if not wrong.sum():
        return None
    hits, false = wrong[::-1].cumsum(), right[::-1].cumsum()
    return float((2 * hits / (hits + false + wrong.sum())).max())


class Validator:
    """Compute sums on this rank's share of the validation data; `examples` are rows of the first utterances."""

    def __init__(self, assessor: Assessor, cuts: CutSet, batch_size: int, num_examples: int) -> None:
        self.assessor, self.cuts, self.batch_size = assessor, cuts, batch_size
        self.shown = set(sorted(cut.id for cut in cuts)[:num_examples])
        self.examples: list[dict[str, Any]] = []

    @torch.inference_mode()
    def __call__(self) -> PronunciationSums:
        rank, world_size = rank_and_world_size()
        order = InOrder(self.cuts, self.batch_size, rank=rank, world_size=world_size)
        loss, edits, phones = 0.0, 0, 0
        right, wrong = np.zeros(_BINS), np.zeros(_BINS)
        self.examples = []
        for cuts, batch in zip(order.batches, loader(order, self.assessor.collator(labelled=True)), strict=True):
            output = self.assessor.model(**for_model(batch, self.assessor.model.device))
            loss += float(output.loss) * len(cuts)
            recognised = decode_phonemes(output.logits, output.logit_lengths, self.assessor.blank)
            for cut, phonemes in zip(cuts, recognised, strict=True):
                errors, length = phone_errors(pronunciation(cut).spoken, phonemes)
                edits, phones = edits + errors, phones + length
            scores_BN = output.error_logits.float().sigmoid().cpu()
            truth_BN = batch["errors"]
            bins_BN = (scores_BN * _BINS).long().clamp(0, _BINS - 1)
            right += np.bincount(bins_BN[truth_BN == 0].numpy(), minlength=_BINS)
            wrong += np.bincount(bins_BN[truth_BN == 1].numpy(), minlength=_BINS)
            for place, cut in enumerate(cuts):
                if cut.id in self.shown:
                    self.examples.append(_example(cut, recognised[place], scores_BN[place].tolist()))
        self.examples.sort(key=lambda row: str(row["id"]))
        return PronunciationSums(loss, sum(map(len, order.positions)), edits, phones, right.tolist(), wrong.tolist())


def _example(cut: Cut, recognised: list[str], scores: list[float]) -> dict[str, Any]:
    truth = pronunciation(cut)
    return {
        "id": cut.id,
        "speaker": manifest.field(cut, "speaker"),
        "text": manifest.text(cut),
        "canonical": list(truth.canonical),
        "perceived": list(truth.perceived),
        "recognised": recognised_by_canonical(truth.canonical, recognised),
        "errors": list(truth.errors),
        "error_score": [round(score, 3) for score in scores[: len(truth.canonical)]],
    }


def example_lines(row: dict[str, Any]) -> list[str]:
    """Render an example: canonical, perceived and recognised phonemes, annotated and predicted errors, in columns.

    `!` marks an error; a prediction is the probability in tenths.
    """
    marks = ["!" if error else "." for error in row["errors"]]
    sure = [str(min(9, int(10 * score))) if score >= 0.1 else "." for score in row["error_score"]]
    lines = [
        ("canonical", row["canonical"]),
        ("perceived", row["perceived"]),
        ("recognised", row["recognised"]),
        ("wrong", marks),
        ("predicted", sure),
    ]
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells in lines), strict=True)]
    return [f"    {row['id']}  {row['text']}"] + [
        f"      {name:<11}" + " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for name, cells in lines
    ]


class ShowExamples(TrainerCallback):  # type: ignore[misc]
    """Print the validator's examples after each epoch, and log those of all epochs as a table.

    A file beside the checkpoints stores them, so a resumed training continues its table.
    """

    def __init__(self, validator: Validator, run: Recorder, console: Console, folder: Path) -> None:
        self.validator, self.run, self.console, self.file = validator, run, console, folder / "examples.json"

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not (state.is_world_process_zero and self.validator.examples):
            return
        epoch = round(state.epoch or 0)
        before = json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else []
        rows = [row for row in before if row["epoch"] < epoch]
        rows += [{"epoch": epoch, **row} for row in self.validator.examples]
        write_text(self.file, json.dumps(rows, ensure_ascii=False))
        for row in self.validator.examples:
            self.console.print("\n".join(example_lines(row)))
        self.run.table(pd.DataFrame(rows), "examples.parquet")
