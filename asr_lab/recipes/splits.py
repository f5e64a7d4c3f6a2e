"""The data of a recipe: read, check and filter manifests."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from lhotse import CutSet

from asr_lab.data import columns, manifest
from asr_lab.data.filtering import FilterResult, Limits, filter_transcribed
from asr_lab.data.phonemes import check_languages
from asr_lab.data.table_utterances import Utterances
from asr_lab.data.transcript_marks import DUAL
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import Dataset
from asr_lab.models.recognizer import Recognizer
from asr_lab.units import SAMPLE_RATE, counted, num_samples


@dataclass(frozen=True)
class Split:
    """A manifest and its utterances."""

    name: str
    path: str
    cuts: CutSet
    digest: str

    @classmethod
    def read(cls, name: str, path: str, *, speech: bool = True) -> Split:
        cuts = CutSet(Utterances.read(path, speech=speech))
        manifest.check_files(cuts, where=path)
        return cls(name, path, cuts, manifest.digest(cuts))

    def __str__(self) -> str:
        """Size and digest."""
        minutes = f"{self.hours * 60:.1f} min"
        return f"{len(self.cuts):6} utterances  {minutes:>10}  digest {self.digest[:8]}"

    @property
    def hours(self) -> float:
        return columns.seconds(self.cuts) / 3600

    def dataset(self) -> Dataset:
        """Return the split as a run's dataset input, named after its corpus folder."""
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


def filter_split(split: Split, recognizer: Recognizer, max_duration_s: float, *, fastest: float = 1.0) -> FilterResult:
    """Return the utterances that can be trained on; `fastest` is the highest speed perturbation factor."""
    refuse_two_readings(split, recognizer)
    return filter_transcribed(
        split.cuts,
        recognizer.spell_all,
        recognizer.vocabulary,
        limits_of(recognizer, max_duration_s, fastest),
        split.path,
    )


def limits_of(recognizer: Recognizer, max_duration_s: float, fastest: float) -> Limits:
    """Return which utterances a model can be trained on, at speeds up to `fastest`."""
    return Limits(
        output_frames=recognizer.output_frames,
        max_duration_s=max_duration_s,
        min_duration_s=recognizer.min_samples * fastest / SAMPLE_RATE,
    )


def refuse_two_readings(split: Split, recognizer: Recognizer) -> None:
    """Raise `AsrLabError` if transcripts hold two readings and the normaliser keeps both."""
    some = columns.texts_with(split.cuts, r"\(")
    if recognizer.normalizer.transcription != "plain" or not any(map(DUAL.search, some)):
        return
    texts = (text for batch in columns.texts(split.cuts) for text in batch)
    dual = columns.ids(split.cuts).take([place for place, text in enumerate(texts) if DUAL.search(text)]).to_pylist()
    raise AsrLabError(
        f"{counted(len(dual), 'transcript', 'hold')} two readings, (one)/(other), and the plain transcription keeps "
        f"both: {listing(dual, 3)}",
        where=split.path,
        allowed="data.text.transcription=spelling for the first readings, phonetic for the second, "
        "or transcripts with one reading",
    )


def refuse_too_short(split: Split, recognizer: Recognizer) -> None:
    """Raise `AsrLabError` that names the utterances too short for the recogniser."""
    short = too_short(split.cuts, recognizer)
    if short:
        raise AsrLabError(
            f"{counted(len(short), 'utterance', 'are')} too short to be recognised: {listing(short, 5)}",
            where=split.path,
            allowed=f"at least {shortest(recognizer)}",
            next_command=f"asr-lab data check {shlex.quote(str(split.path))}",
        )


def too_short(cuts: CutSet, recognizer: Recognizer) -> list[str]:
    """Return the ids of utterances shorter than the recogniser's minimum."""
    short = [num_samples(duration_s) < recognizer.min_samples for duration_s in columns.durations(cuts).tolist()]
    return [str(id) for id in columns.ids(cuts).filter(pa.array(short, pa.bool_())).to_pylist()]


def shortest(recognizer: Recognizer) -> str:
    """Return the recogniser's minimum duration, as text."""
    return f"{recognizer.min_samples / SAMPLE_RATE * 1000:.0f} ms"


def check_spoken(splits: Mapping[str, Split]) -> None:
    """Raise `AsrLabError` unless validation and test utterances can be converted to phonemes."""
    for name in ("val", "test"):
        if name in splits:
            check_languages(splits[name].cuts, splits[name].path)
