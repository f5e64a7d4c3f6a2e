"""Score a pronunciation model on a split: assessment table, flags, metrics, and their record.

Baselines are a predictor without audio, one that flags everything, and GOP with a threshold per phoneme; variants are
the model fused with GOP, and the model given the wrong text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.pronunciation import pronunciation
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics import floor
from asr_lab.metrics import pronunciation as metrics
from asr_lab.metrics.catalog import in_a_name, of_best_epoch
from asr_lab.metrics.significance import Interval
from asr_lab.models.pronunciation.assessor import Assessor, PhonemeAssessment
from asr_lab.models.pronunciation.decisions import Decisions
from asr_lab.recipes.recognition.scoring import SLICES
from asr_lab.recipes.splits import Split
from asr_lab.reports.detection import detection_figure
from asr_lab.units import counted, frames_needed, num_samples

_MOST_WRONG_TEXTS = 100
_BATCH = 16
_MOST_PARTS = 60  # largest number of values per kind (L1, speaker, phoneme) logged as metrics


def assessment_table(cuts: CutSet, assessments: Mapping[str, PhonemeAssessment]) -> pd.DataFrame:
    """Return one row per utterance with annotation and prediction (by id), without flags."""
    rows = []
    for cut in cuts:
        truth, assessment = pronunciation(cut), assessments[cut.id]
        row: dict[str, Any] = {
            "id": cut.id,
            "text": manifest.text(cut),
            "duration_s": round(cut.duration, 3),
            "canonical": list(truth.canonical),
            "words": list(truth.words),
            "perceived": list(truth.perceived),
            "insertions": [list(slot) for slot in truth.insertions],
            "errors": list(truth.errors),
            "recognised": assessment.recognised,
            "error_score": assessment.error_score,
            "gop": assessment.gop,
            "spans": [list(span) for span in assessment.spans],
        }
        optional = {"diagnosis": assessment.diagnosis, "score": assessment.score, "phone_scores": truth.scores}
        row |= {name: list(values) for name, values in optional.items() if values is not None}
        row |= {name: manifest.field(cut, name) for name in SLICES if manifest.field(cut, name) not in (None, "")}
        rows.append(row)
    return metrics.with_phone_errors(pd.DataFrame(rows))


@dataclass(frozen=True)
class Assessed:
    """A split's table with the model's flags, and its metrics by name (None if undefined)."""

    table: pd.DataFrame
    figures: Mapping[str, float | None]
    f1: Mapping[str, Interval | None]
    """Predictor (`model`, `gop`, `fused`) -> F1 of the error class with its interval."""
    pr_auc: Interval | None
    over_gop: Mapping[str, Interval]
    """`error_f1` and `pr_auc` of the model minus those of GOP on the same utterances; without undefined ones."""


def decide(table: pd.DataFrame, decisions: Decisions) -> Assessed:
    """Compute flags and metrics of the model; those of baselines and variants are prefixed with their name."""
    own = metrics.flagged(table, "error_score", decisions.threshold)
    flagged, figures = {"model": own}, {"model": metrics.detection(own, "error_score")}
    if decisions.gop_thresholds:
        without_diagnosis = table.drop(columns="diagnosis", errors="ignore")
        flagged["gop"] = metrics.flagged(without_diagnosis, "gop", decisions.gop_thresholds)
        figures["gop"] = metrics.detection(flagged["gop"], "gop")
    if decisions.fusion:
        own = metrics.fused(own, decisions.fusion)
        flagged["fused"] = metrics.flagged(own, "fused", decisions.fused_threshold)
        figures["fused"] = metrics.detection(flagged["fused"], "fused")
    figures |= {
        "trivial": metrics.trivial(table),
        "flag_all": metrics.flag_all(table),
        "hierarchy": metrics.hierarchy(table),
    }
    values: dict[str, float | None] = {"per": metrics.per(table).value, **figures.pop("model")}
    values |= metrics.score_figures(table)
    values |= {f"{name}/{key}": value for name, one in figures.items() for key, value in one.items()}
    f1 = {name: metrics.f1_interval(one) for name, one in flagged.items()}
    auc, over = metrics.pr_auc_interval(own, "error_score"), _over_gop(flagged)
    bounds = {"error_f1": f1["model"], "pr_auc": auc, **{f"over_gop/{name}": one for name, one in over.items()}}
    for name, interval in bounds.items():
        if interval:
            values |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    values |= {f"over_gop/{name}": one.value for name, one in over.items()}
    return Assessed(own, values, f1, auc, over)


def _over_gop(flagged: Mapping[str, pd.DataFrame]) -> dict[str, Interval]:
    if "gop" not in flagged:
        return {}
    gop, own = flagged["gop"], flagged["model"]
    differences = {
        "error_f1": metrics.f1_difference(gop, own),
        "pr_auc": metrics.pr_auc_difference(gop, "gop", own, "error_score"),
    }
    return {name: interval for name, interval in differences.items() if interval}


def refuse_crowded(split: Split, assessor: Assessor) -> None:
    """Raise `AsrLabError` that names utterances with more canonical phonemes than the model has frames for."""
    crowded = [cut.id for cut in split.cuts if not _fits(assessor, cut, pronunciation(cut).canonical)]
    if crowded:
        raise AsrLabError(
            f"{counted(len(crowded), 'utterance', 'have')} more phonemes than frames: {listing(crowded, 5)}",
            where=split.path,
            hint="their audio is truncated, or they have the text of another utterance",
        )


def _fits(assessor: Assessor, cut: Cut, canonical: Sequence[str]) -> bool:
    tokens = [assessor.vocabulary[phoneme] for phoneme in canonical]
    return frames_needed(tokens) <= assessor.output_frames(num_samples(cut.duration))


def wrong_text(assessor: Assessor, cuts: CutSet, assessed: Assessed, threshold: float) -> dict[str, float]:
    """Return the share of flagged phonemes for the text of another utterance, and for the right text.

    The former is measured on at most 100 utterances. A model that uses the audio flags far more of a wrong text.
    """
    chosen = sorted(cuts, key=lambda cut: (cut.duration, cut.id))[-_MOST_WRONG_TEXTS:]
    texts = [pronunciation(cut).canonical for cut in chosen]
    pairs = []
    for place, cut in enumerate(chosen):
        others = (text for text in texts[place + 1 :] + texts[:place] if text != texts[place])
        other = next((text for text in others if _fits(assessor, cut, text)), None)
        pairs += [(cut, other)] if other else []
    flags: list[bool] = []
    for start in range(0, len(pairs), _BATCH):
        part = pairs[start : start + _BATCH]
        rows = assessor.error_scores([read_cut(cut) for cut, _ in part], [text for _, text in part])
        flags += [score >= threshold for row in rows for score in row]
    own = [flag for row in assessed.table["flags"] for flag in row]
    return {f"wrong_text/{name}": sum(row) / len(row)
            for name, row in (("flagged", flags), ("flagged_of_own_text", own)) if row}  # fmt: skip


def record(
    run: Recorder,
    assessed: Assessed,
    split: str,
    *,
    step: int = 0,
    of_best: bool = False,
    more: Mapping[str, float] | None = None,
) -> list[str]:
    """Log a split's metrics, their parts and its table under `eval/`; return notes, such as undefined metrics.

    `of_best`: of the best epoch, so that validated metrics are logged as `best/val_error_f1`.
    """
    table = assessed.table
    known = {f"{split}/{name}": value for name, value in assessed.figures.items() if value is not None}
    known |= {f"{split}/{name}": value for name, value in (more or {}).items()}
    if split == "test":
        known |= {f"legacy/{name}": value for name, value in metrics.legacy(table).items() if value is not None}
    by_part = metrics.parts(table)
    counts = by_part["part"].value_counts()
    for row in by_part.itertuples():
        if counts[row.part] <= _MOST_PARTS and row.error_f1 == row.error_f1:
            known[f"{split}/error_f1_by_{row.part}/{in_a_name(str(row.value))}"] = row.error_f1
    known[f"{split}/utterances"] = len(table)
    run.metrics({of_best_epoch(name) if of_best else name: value for name, value in known.items()}, step)
    run.table(table, f"eval/{split}.parquet", shown=not run.minimal)
    run.table(by_part, f"eval/{split}_parts.parquet")
    if assessed.pr_auc and not run.minimal:
        run.figure(detection_figure(table, split), f"eval/{split}_detection.png")
    over = [f"{name} {_signed(one)}" for name, one in assessed.over_gop.items()]
    notes = [f"{split}: difference of the model to GOP, with 95 % intervals: {', '.join(over)}"] if over else []
    main = {name: value for name, value in assessed.figures.items() if "/" not in name and "score" not in name}
    undefined = metrics.undefined(main, split)
    return [*notes, undefined] if undefined else notes


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def summary(assessed: Mapping[str, Assessed]) -> pd.DataFrame:
    """Return one row per split and predictor, with the main metrics."""
    rows: list[dict[str, object]] = []
    for split, one in assessed.items():
        for name in ("model", "fused", "gop", "trivial", "flag_all"):
            prefix = "" if name == "model" else f"{name}/"
            values = {key: one.figures.get(prefix + key) for key in _SHOWN}
            if any(value is not None for value in values.values()):
                interval = one.f1.get(name)
                bounds = f"{interval.low:.1%} to {interval.high:.1%}" if interval else ""
                first = {"split": split, "predictor": name, "error_f1": values["error_f1"], "95 % interval": bounds}
                rows.append({**first, **values})
    return pd.DataFrame(rows)


_SHOWN: Sequence[str] = ("error_f1", "error_precision", "error_recall", "pr_auc", "roc_auc", "accuracy", "per")


def not_learned(assessed: Assessed, split: str) -> list[str]:
    """Return what to try with a model that is not better than one that ignores the audio; nothing if it is."""
    known = {f"{split}/{name}": value for name, value in assessed.figures.items() if value is not None}
    if not (why := floor.why_below(known)):
        return []
    return [
        f"it has not learned to assess pronunciation: {why}. Train longer (train.epochs) or with another train.lr, and "
        "check the labels: asr-lab data check MANIFEST"
    ]
