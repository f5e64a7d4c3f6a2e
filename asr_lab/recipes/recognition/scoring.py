"""Score transcriptions: a table per utterance, corpus error rates with intervals, and their artifacts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import pandas as pd
import soundfile
from lhotse import CutSet

from asr_lab.data import columns
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.phonemes import phonemes
from asr_lab.data.text import TextNormalizer
from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics import error_rates, floor, spacing
from asr_lab.metrics.catalog import in_a_name, of_best_epoch
from asr_lab.metrics.significance import Interval, rate_interval
from asr_lab.metrics.slices import slices
from asr_lab.reports.alignment import alignment_page
from asr_lab.reports.slices import slices_figure
from asr_lab.units import SAMPLE_RATE

_MOST_AUDIO = 50_000_000  # bytes in a page


_MOST_SLICES = 20  # of a kind: the metrics of more would bury the others


SLICES = ("speaker", "gender", "age", "age_group", "snr_db", "l1", "corpus", "block")


def score(
    cuts: CutSet, hypotheses: Mapping[str, str], normalizer: TextNormalizer, *, in_phonemes: bool = False
) -> pd.DataFrame:
    """Return one row per utterance: text, errors, lengths (`error_rates.score`), duration and slice fields.

    `in_phonemes` adds phoneme errors, by the language of each utterance.
    """
    texts = (text for batch in columns.texts(cuts) for text in normalizer.all(batch))
    references = dict(zip(columns.ids(cuts).to_pylist(), texts, strict=True))
    table = error_rates.score(references, dict(zip(hypotheses, normalizer.all([*hypotheses.values()]), strict=True)))
    table["duration_s"] = [round(duration_s, 3) for duration_s in columns.durations(cuts).tolist()]
    for name in SLICES:
        values = columns.factor(cuts, name).of_each(lambda value: value).tolist()
        if any(value not in (None, "") for value in values):
            table[name] = values
    if in_phonemes:
        table["language"] = columns.factor(cuts, "language").of_each(lambda value: value).tolist()
        table = error_rates.with_phonemes(table, phonemes)
    return table


def wer_interval(table: pd.DataFrame) -> Interval:
    """Return the corpus WER with its 95 % interval, bootstrapped over utterances."""
    return rate_interval(error_rates.word_errors(table).to_numpy(), table["words"].to_numpy())


def not_learned(table: pd.DataFrame, split: str) -> list[str]:
    """Return what to try with a recogniser that is not better than no output on a split; nothing if it is."""
    interval = wer_interval(table)
    metrics = {f"{split}/wer": interval.value, f"{split}/wer_low": interval.low, f"{split}/wer_high": interval.high}
    if not (why := floor.why_below(metrics)):
        return []
    empty = int((table["hypothesis"] == "").sum())
    silent = f"; {empty} of {len(table)} utterances are recognised as nothing" if empty else ""
    return [
        f"it has not learned to recognise speech: {why}{silent}. Train longer (train.epochs) or with another train.lr, "
        "and check transcripts and audio: asr-lab data check MANIFEST"
    ]


def record_scores(
    run: Recorder,
    table: pd.DataFrame,
    split: str,
    title: str,
    *,
    step: int = 0,
    of_best: bool = False,
    audio: Mapping[str, str] | None = None,
    note: str = "",
) -> Interval:
    """Log a split's WER with interval, CER, those of its slices, and under `eval/` its tables, page and figure.

    Both rates are logged without spaces too; a table in phonemes has its PER logged. A minimal run logs no pages and
    figures.

    `of_best`: the split is scored with the best epoch, so `best/val_wer` is logged in place of a point behind those of
    the epochs. `audio` is utterance id -> data URI for the page.
    """
    table = spacing.without_spaces(table)
    interval, by_slice = wer_interval(table), slices(table)
    metrics = {
        f"{split}/wer": interval.value,
        f"{split}/wer_low": interval.low,
        f"{split}/wer_high": interval.high,
        f"{split}/cer": error_rates.cer(table),
        f"{split}/wer_no_space": spacing.wer_no_space(table),
        f"{split}/cer_no_space": spacing.cer_no_space(table),
        f"{split}/utterances": len(table),
    }
    if "phonemes" in table:
        metrics[f"{split}/per"] = error_rates.per(table)
    kinds = by_slice["slice"].value_counts()
    for row in by_slice.itertuples():
        if kinds[row.slice] <= _MOST_SLICES:
            metrics[f"{split}/wer_by_{row.slice}/{in_a_name(row.value)}"] = row.wer
    run.metrics({of_best_epoch(name) if of_best else name: value for name, value in metrics.items()}, step)
    run.table(table, f"eval/{split}.parquet", shown=not run.minimal)
    if run.minimal:
        return interval
    run.table(error_rates.confusions(table), f"eval/{split}_confusions.parquet")
    if len(by_slice):
        run.table(by_slice, f"eval/{split}_slices.parquet")
        run.figure(slices_figure(by_slice), f"eval/{split}_slices.png")
    page = alignment_page(table, title, interval, slices=by_slice, audio=audio, note=note)
    run.text(page, f"eval/{split}.html")
    return interval


def embedded(cuts: CutSet) -> tuple[dict[str, str], str]:
    """Return (utterance id -> audio as a data URI, note on omitted audio), up to 50 MB."""
    audio: dict[str, str] = {}
    size = 0
    for cut in cuts:
        file = io.BytesIO()
        soundfile.write(file, read_cut(cut), SAMPLE_RATE, format="OGG", subtype="VORBIS")
        encoded = base64.b64encode(file.getvalue()).decode()
        size += len(encoded)
        if size > _MOST_AUDIO:
            return audio, f"The audio of {len(cuts) - len(audio)} utterances is left out: the page would be too large."
        audio[cut.id] = f"data:audio/ogg;base64,{encoded}"
    return audio, ""


def record_predictions(run: Recorder, table: pd.DataFrame, split: str) -> None:
    """Log the table as JSON lines."""
    lines = table.to_json(orient="records", lines=True, force_ascii=False)
    run.text(lines, f"eval/{split}_predictions.jsonl")
