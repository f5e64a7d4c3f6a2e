"""Steps that recipes share: reading splits, describing the run, scoring it, saying how long it took."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import soundfile
from lhotse import CutSet
from pydantic import BaseModel

from asr_lab.config import identity
from asr_lab.data import manifest
from asr_lab.data.audio import read_cut
from asr_lab.data.phonemes import check_languages, phonemes
from asr_lab.data.screen import Screened, screen
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import error_rates
from asr_lab.metrics.catalog import in_a_name
from asr_lab.metrics.significance import Interval, rate_interval
from asr_lab.metrics.slices import slices
from asr_lab.models.recognizer import Recognizer
from asr_lab.reports.alignment import alignment_page
from asr_lab.reports.slices import slices_figure
from asr_lab.training.recorder import Dataset, Recorder, RunSpec
from asr_lab.units import SAMPLE_RATE, num_samples

_RESUMABLE = ("train", "phase", "curriculum", "arms")  # kinds that go on where they were cut off
_MOST_AUDIO = 50_000_000  # bytes in a page
_MOST_SLICES = 20  # of a kind: the metrics of more would bury the others
SLICES = ("speaker", "gender", "age", "snr_db", "l1", "corpus", "block")


@dataclass(frozen=True)
class Split:
    """A manifest, read."""

    name: str
    path: str
    cuts: CutSet
    digest: str

    @classmethod
    def read(cls, name: str, path: str, *, speech: bool = True) -> Split:
        cuts = manifest.read(path, speech=speech)
        manifest.check_files(cuts, where=path)
        return cls(name, path, cuts, manifest.digest(cuts))

    def __str__(self) -> str:
        """Its size and digest, for people."""
        minutes = f"{self.hours * 60:.1f} min"
        return f"{len(self.cuts):6} utterances  {minutes:>10}  digest {self.digest[:8]}"

    @property
    def hours(self) -> float:
        return float(sum(cut.duration for cut in self.cuts)) / 3600

    def dataset(self) -> Dataset:
        """The split as a run's dataset input, named after its corpus folder."""
        path = Path(self.path)
        name = path.name.removesuffix(manifest.SUFFIX)
        return Dataset(
            name=f"{path.resolve().parent.name}/{name}",
            split=self.name,
            digest=self.digest,
            source=str(path),
            num_utterances=len(self.cuts),
            hours=self.hours,
        )


def screened(split: Split, recognizer: Recognizer, max_duration_s: float, *, fastest: float = 1.0) -> Screened:
    """What of a split the recogniser can learn from; `fastest` is the highest factor of speed perturbation."""
    return screen(
        split.cuts,
        recognizer.spell,
        recognizer.encode_text,
        recognizer.vocabulary,
        max_duration_s,
        output_frames=recognizer.output_frames,
        min_duration_s=recognizer.min_samples * fastest / SAMPLE_RATE,
        where=split.path,
    )


def refuse_too_short(split: Split, recognizer: Recognizer) -> None:
    """Raise `AsrLabError` that names the utterances which the recogniser cannot hear, before anything is spent."""
    short = too_short(split.cuts, recognizer)
    if short:
        raise AsrLabError(
            f"{len(short)} utterances are too short to be recognised: {listing(short, 5)}",
            where=split.path,
            allowed=f"at least {shortest(recognizer)}",
            next_command=f"asr-lab data check {split.path}",
        )


def too_short(cuts: CutSet, recognizer: Recognizer) -> list[str]:
    """Ids of the utterances that are shorter than anything the recogniser can hear."""
    return [cut.id for cut in cuts if num_samples(cut.duration) < recognizer.min_samples]


def shortest(recognizer: Recognizer) -> str:
    """The shortest signal that the recogniser can hear, for people."""
    return f"{recognizer.min_samples / SAMPLE_RATE * 1000:.0f} ms"


def check_spoken(splits: Mapping[str, Split]) -> None:
    """Raise `AsrLabError` unless phonemes can be made of all that is validated and tested on."""
    for name in ("val", "test"):
        if name in splits:
            check_languages(splits[name].cuts, splits[name].path)


def describe(
    config: BaseModel,
    *,
    family: str,
    kind: str,
    model_type: str,
    name: str,
    data: Mapping[str, str],
    parent: str = "",
    called: str = "",
    **tags: str,
) -> RunSpec:
    """What a run is, from its configuration and its data's digests.

    Its name begins with `name` and says what differs from the defaults; or it is what the run is `called`.
    """
    return RunSpec(
        parent=parent,
        family=family,
        kind=kind,
        model_type=model_type,
        name=called or identity.run_name(config, name),
        signature=identity.signature(config, data),
        params=identity.flat(config),
        config_yaml=identity.dump_yaml(config),
        tags={f"asr_lab.{key}": value for key, value in tags.items()},
        resumable=kind in _RESUMABLE,
    )


def score(
    cuts: CutSet, hypotheses: Mapping[str, str], normalizer: TextNormalizer, *, in_phonemes: bool = False
) -> pd.DataFrame:
    """One row an utterance: text, errors, lengths (`error_rates.score`), duration and what it can be sliced by.

    `in_phonemes`: its errors in phonemes too, by the language of each utterance.
    """
    references = {cut.id: normalizer(manifest.text(cut)) for cut in cuts}
    table = error_rates.score(references, {id: normalizer(text) for id, text in hypotheses.items()})
    table["duration_s"] = [round(cut.duration, 3) for cut in cuts]
    for name in SLICES:
        values = [manifest.field(cut, name) for cut in cuts]
        if any(value not in (None, "") for value in values):
            table[name] = values
    if in_phonemes:
        table["language"] = [manifest.field(cut, "language") for cut in cuts]
        table = error_rates.with_phonemes(table, phonemes)
    return table


def wer_interval(table: pd.DataFrame) -> Interval:
    """Corpus WER with its 95 % interval, utterances resampled."""
    return rate_interval(error_rates.word_errors(table).to_numpy(), table["words"].to_numpy())


def record_scores(
    run: Recorder,
    table: pd.DataFrame,
    split: str,
    title: str,
    *,
    step: int = 0,
    audio: Mapping[str, str] | None = None,
    note: str = "",
) -> Interval:
    """Log a split's WER with interval, CER, those of its slices, and under `eval/` its tables, page and figure.

    A table in phonemes has its PER logged too. Of a brief run there are no pages and figures.

    `step` lies behind those of a curve of the same name: MLflow shows the value of the largest step. `audio` is
    utterance id -> data URI for the page.
    """
    interval, by_slice = wer_interval(table), slices(table)
    metrics = {
        f"{split}/wer": interval.value,
        f"{split}/wer_low": interval.low,
        f"{split}/wer_high": interval.high,
        f"{split}/cer": error_rates.cer(table),
        f"{split}/utterances": len(table),
    }
    if "phonemes" in table:
        metrics[f"{split}/per"] = error_rates.per(table)
    kinds = by_slice["slice"].value_counts()
    for row in by_slice.itertuples():
        if kinds[row.slice] <= _MOST_SLICES:
            metrics[f"{split}/wer_by_{row.slice}/{in_a_name(row.value)}"] = row.wer
    run.metrics(metrics, step)
    run.table(table, f"eval/{split}.parquet")
    if run.brief:
        return interval
    run.table(error_rates.confusions(table), f"eval/{split}_confusions.parquet")
    if len(by_slice):
        run.table(by_slice, f"eval/{split}_slices.parquet")
        run.figure(slices_figure(by_slice), f"eval/{split}_slices.png")
    page = alignment_page(table, title, interval, slices=by_slice, audio=audio, note=note)
    run.text(page, f"eval/{split}.html")
    return interval


def embedded(cuts: CutSet) -> tuple[dict[str, str], str]:
    """(Utterance id -> its audio as a data URI, a note on what is left out): at most 50 MB, the first ones."""
    found: dict[str, str] = {}
    size = 0
    for cut in cuts:
        file = io.BytesIO()
        soundfile.write(file, read_cut(cut), SAMPLE_RATE, format="OGG", subtype="VORBIS")
        encoded = base64.b64encode(file.getvalue()).decode()
        size += len(encoded)
        if size > _MOST_AUDIO:
            return found, f"The audio of {len(cuts) - len(found)} utterances is left out: the page would be too large."
        found[cut.id] = f"data:audio/ogg;base64,{encoded}"
    return found, ""


def record_predictions(run: Recorder, table: pd.DataFrame, split: str) -> None:
    """Log all that is said of each utterance as JSON lines."""
    lines = table.to_json(orient="records", lines=True, force_ascii=False)
    run.text(lines, f"eval/{split}_predictions.jsonl")
