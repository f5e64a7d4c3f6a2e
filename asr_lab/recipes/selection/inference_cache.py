"""Transcribe a large pool, skipping what cannot be read; predictions are cached on disk and survive an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import columns
from asr_lab.data.audio_places import is_there
from asr_lab.data.batches import InOrder
from asr_lab.decoding.greedy import confidence
from asr_lab.errors import AsrLabError, listing
from asr_lab.models.adapter import vocabulary_digest, weights_digest
from asr_lab.models.recognizer import Progress, Recognizer
from asr_lab.recipes.parts import Part
from asr_lab.recipes.splits import shortest, too_short
from asr_lab.system.append_log import append_lines

_BATCH_SIZE = 16


class Prediction(NamedTuple):
    """The prediction for one utterance."""

    hypothesis: str
    confidence: float


@dataclass
class PoolPredictions:
    """The predictions for a pool, by utterance id."""

    by_id: dict[str, Prediction] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Utterance id -> why it could not be transcribed."""
    recalled: int = 0
    """Number of predictions read from the cache of an interrupted call."""


class InferenceCache:
    """A JSON Lines file of predictions, from which an interrupted call continues.

    A row is valid only for the model that wrote it and for the same segment of the same audio.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def recall(self, cuts: Iterable[Cut], model: str) -> dict[str, Prediction]:
        """Return the cached predictions of the model with this digest."""
        cached = self._read()
        if not cached:
            return {}
        marks = {cut.id: _mark(cut, model) for cut in cuts}
        return {id: cached[mark] for id, mark in marks.items() if mark in cached}

    def _read(self) -> dict[str, Prediction]:
        cached: dict[str, Prediction] = {}
        if self.file.is_file():
            with self.file.open("rb") as lines:
                for line in lines:
                    with suppress(ValueError, KeyError, TypeError):  # a truncated line: transcribed again
                        row = json.loads(line)
                        cached[str(row["mark"])] = Prediction(str(row["hypothesis"]), float(row["confidence"]))
        return cached

    def append(self, cuts: Iterable[Cut], predictions: dict[str, Prediction], model: str) -> None:
        """Append a batch. Raise `AsrLabError` if it cannot be written."""
        rows = [{"id": cut.id, "mark": _mark(cut, model), **predictions[cut.id]._asdict()} for cut in cuts]
        self._append([json.dumps(row, ensure_ascii=False) for row in rows])

    def merge(self, file: Path) -> None:
        """Append the rows of another cache. Raise `AsrLabError` if they cannot be written."""
        self._append(file.read_text(encoding="utf-8").splitlines() if file.is_file() else [])

    def _append(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            append_lines(self.file, lines)
        except OSError as error:
            raise AsrLabError(
                f"predictions cannot be saved: {error.strerror or error}",
                where=str(self.file),
                hint="those saved before are intact: free some space and run the same command again",
            ) from error

    def delete(self) -> None:
        """Delete the file, once all its predictions are used."""
        self.file.unlink(missing_ok=True)


def _mark(cut: Cut, model: str) -> str:
    """Return the key of a row: a digest of the model and the audio segment."""
    sources = [source.source for source in cut.recording.sources]
    digests = [(one.custom or {}).get("audio_digest", "") for one in cut.supervisions]
    piece = (model, cut.id, sources, cut.start, cut.duration, cut.channel, digests)
    return hashlib.sha256(json.dumps(piece).encode()).hexdigest()[:32]


def transcribe_pool(cuts: CutSet, recognizer: Recognizer, cache: InferenceCache, progress: Progress) -> PoolPredictions:
    """Transcribe every utterance that can be, the longest first.

    Durations and files are checked first. A batch with unreadable audio is transcribed one utterance at a time. Raise
    `AsrLabError` if no utterance could be transcribed.
    """
    pool = PoolPredictions(left_out=_unusable(cuts, recognizer))
    model = _model_digest(recognizer)
    usable = _without(cuts, pool.left_out)
    pool.by_id |= cache.recall(usable, model)
    pool.recalled = len(pool.by_id)
    progress(len(pool.left_out) + pool.recalled)
    for batch in InOrder(_without(usable, pool.by_id), _BATCH_SIZE).batches:
        new = _transcribe_batch(batch, recognizer, pool.left_out)
        cache.append([cut for cut in batch if cut.id in new], new, model)
        pool.by_id |= new
        progress(len(batch))
    if not pool.by_id:
        raise AsrLabError(
            f"none of the {len(cuts)} utterances could be transcribed: {describe_left_out(pool.left_out)}",
            allowed=f"audio files that exist, are intact, and last at least {shortest(recognizer)}",
            next_command="asr-lab data check MANIFEST",
        )
    return pool


def transcribe_part(
    cuts: CutSet, recognizer: Recognizer, part: Part, known: InferenceCache, cache: InferenceCache, progress: Progress
) -> None:
    """Transcribe into `cache` a part of what `transcribe_pool` would, given what is `known`: whole batches of it.

    What an earlier attempt has in `cache` is not repeated; what cannot be transcribed is in no cache.
    """
    model = _model_digest(recognizer)
    usable = _without(cuts, _unusable(cuts, recognizer))
    batches = part.batches(_without(usable, known.recall(usable, model)), _BATCH_SIZE)
    own = cache.recall(batches.chosen, model)
    for batch in batches.batches:
        if any(cut.id not in own for cut in batch):
            new = _transcribe_batch(batch, recognizer, {})
            cache.append([cut for cut in batch if cut.id in new], new, model)
        progress(len(batch))


def _model_digest(recognizer: Recognizer) -> str:
    return f"{weights_digest(recognizer.model)}{vocabulary_digest(recognizer.units)}"


def describe_left_out(left_out: dict[str, str]) -> str:
    """Return the first utterances that could not be transcribed, with the reasons, for a message."""
    return listing((f"{id} ({why})" for id, why in left_out.items()), 3)


def _unusable(cuts: CutSet, recognizer: Recognizer) -> dict[str, str]:
    """Return the utterances that are too short or have no file, with the reason."""
    short = dict.fromkeys(too_short(cuts, recognizer), f"shorter than {shortest(recognizer)}")
    missing = {source for source in columns.sources(cuts) if not is_there(source)}
    if not missing:  # no cut is built to see which have one
        return short
    return short | {
        cut.id: "no such audio file"
        for cut in cuts
        if any(source.source in missing for source in cut.recording.sources)
    }


def _without(cuts: CutSet, ids: Collection[str]) -> CutSet:
    """Return the utterances without those with these ids."""
    among = pc.is_in(columns.ids(cuts), value_set=pa.array(list(ids), pa.string())).to_numpy()
    return columns.take(cuts, np.flatnonzero(~among))


def _transcribe_batch(cuts: list[Cut], recognizer: Recognizer, left_out: dict[str, str]) -> dict[str, Prediction]:
    """Return the predictions for a batch; unreadable utterances are added to `left_out`."""
    predictions: dict[str, Prediction] = {}
    try:
        for ids, logits, lengths in recognizer.iterate_logits(CutSet.from_cuts(cuts), len(cuts)):
            texts, scores = recognizer.decode(logits, lengths), confidence(logits, lengths, recognizer.blank)
            predictions |= zip(ids, map(Prediction, texts, scores), strict=True)
    except AsrLabError as error:
        if len(cuts) == 1:
            left_out[cuts[0].id] = error.what
            return {}
        for cut in cuts:
            predictions |= _transcribe_batch([cut], recognizer, left_out)
    return predictions
