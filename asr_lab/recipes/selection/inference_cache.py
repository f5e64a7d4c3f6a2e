"""A large pool as a recogniser hears it: what cannot be heard is left out, what was heard outlives the process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data.batches import InOrder
from asr_lab.decoding.greedy import confidence
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import vocabulary_digest, weights_digest
from asr_lab.models.recognizer import Progress, Recognizer
from asr_lab.recipes.splits import shortest, too_short
from asr_lab.system.append_log import append_lines

_BATCH_SIZE = 16


class Said(NamedTuple):
    """What was heard of an utterance."""

    hypothesis: str
    confidence: float


@dataclass
class Heard:
    """Utterance id -> what was heard, or why nothing could be."""

    said: dict[str, Said] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    recalled: int = 0
    """How many of `said` were kept by a call that was cut off."""


class Memory:
    """A file of what was heard so far, a JSON object an utterance: whoever goes on reads it, and hears only the rest.

    A row counts for the model that wrote it alone, and for the same piece of the same audio.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def recall(self, cuts: Iterable[Cut], model: str) -> dict[str, Said]:
        """What the model of this digest was kept to have heard of the utterances."""
        kept = self._read()
        if not kept:
            return {}
        marks = {cut.id: _mark(cut, model) for cut in cuts}
        return {id: kept[mark] for id, mark in marks.items() if mark in kept}

    def _read(self) -> dict[str, Said]:
        kept: dict[str, Said] = {}
        if self.file.is_file():
            with self.file.open("rb") as lines:
                for line in lines:
                    with suppress(ValueError, KeyError, TypeError):  # it was cut off: to be heard again
                        row = json.loads(line)
                        kept[str(row["mark"])] = Said(str(row["hypothesis"]), float(row["confidence"]))
        return kept

    def keep(self, cuts: Iterable[Cut], said: dict[str, Said], model: str) -> None:
        """Append a batch; raises `AsrLabError` where the disk does not take it."""
        rows = [{"id": cut.id, "mark": _mark(cut, model), **said[cut.id]._asdict()} for cut in cuts]
        if not rows:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            append_lines(self.file, [json.dumps(row, ensure_ascii=False) for row in rows])
        except OSError as error:
            raise AsrLabError(
                f"what was heard cannot be kept: {error.strerror or error}",
                where=str(self.file),
                hint="what was kept before is whole: make room, and the same command goes on",
            ) from error

    def forget(self) -> None:
        """All of it is used: the file goes."""
        self.file.unlink(missing_ok=True)


def _mark(cut: Cut, model: str) -> str:
    """What a row belongs to: the model, and the piece of audio that it heard."""
    sources = [source.source for source in cut.recording.sources]
    digests = [(one.custom or {}).get("audio_digest", "") for one in cut.supervisions]
    piece = (model, cut.id, sources, cut.start, cut.duration, cut.channel, digests)
    return hashlib.sha256(json.dumps(piece).encode()).hexdigest()[:32]


def hear(cuts: CutSet, recognizer: Recognizer, memory: Memory, progress: Progress) -> Heard:
    """Every utterance that can be heard, the longest first.

    Durations and files are looked at before anything is spent. A batch with audio that cannot be read is heard one by
    one. Raises `AsrLabError` when nothing of all could be heard.
    """
    heard = Heard(left_out=_unheard_of(cuts, recognizer))
    model = f"{weights_digest(recognizer.model)}{vocabulary_digest(recognizer.units)}"
    able = [cut for cut in cuts if cut.id not in heard.left_out]
    heard.said |= memory.recall(able, model)
    heard.recalled = len(heard.said)
    progress(len(heard.left_out) + heard.recalled)
    rest = [cut for cut in able if cut.id not in heard.said]
    for batch in InOrder(CutSet.from_cuts(rest), _BATCH_SIZE).batches:
        new = _batch(batch, recognizer, heard.left_out)
        memory.keep([cut for cut in batch if cut.id in new], new, model)
        heard.said |= new
        progress(len(batch))
    if not heard.said:
        raise AsrLabError(
            f"none of {len(cuts)} utterances can be heard: {told(heard.left_out)}",
            allowed=f"audio that is there, whole, and at least {shortest(recognizer)} long",
            next_command="asr-lab data check MANIFEST",
        )
    return heard


def told(left_out: dict[str, str], limit: int = 3) -> str:
    """Utterances that could not be heard and why, for a message."""
    shown = "; ".join(f"{id} ({why})" for id, why in list(left_out.items())[:limit])
    more = len(left_out) - limit
    return shown + (f" and {more} more" if more > 0 else "")


def _unheard_of(cuts: CutSet, recognizer: Recognizer) -> dict[str, str]:
    """The utterances of which it is known beforehand that nothing can be heard, and why."""
    short = dict.fromkeys(too_short(cuts, recognizer), f"shorter than {shortest(recognizer)}")
    return short | {
        cut.id: "no such audio file"
        for cut in cuts
        if not all(Path(source.source).is_file() for source in cut.recording.sources)
    }


def _batch(cuts: list[Cut], recognizer: Recognizer, left_out: dict[str, str]) -> dict[str, Said]:
    """What was heard of a batch; what cannot be read is put to the `left_out`."""
    said: dict[str, Said] = {}
    try:
        for ids, logits, lengths in recognizer.heard(CutSet.from_cuts(cuts), len(cuts)):
            texts, sure = recognizer.decode(logits, lengths), confidence(logits, lengths, recognizer.blank)
            said |= zip(ids, map(Said, texts, sure), strict=True)
    except AsrLabError as error:
        if len(cuts) == 1:
            left_out[cuts[0].id] = error.what
            return {}
        for cut in cuts:
            said |= _batch([cut], recognizer, left_out)
    return said
