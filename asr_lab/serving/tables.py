"""Tables of recordings in, tables of transcripts out: what the pyfunc and the server's `/invocations` answer.

`serving.pyfunc` says what the columns and parameters are.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from asr_lab.data.audio import Signal
from asr_lab.data.containers import HEAD_BYTES, kind_of
from asr_lab.errors import AsrLabError, listing
from asr_lab.families import family
from asr_lab.serving.engine import Engine, Request, read_samples
from asr_lab.serving.long_recordings import SEGMENTATIONS, Segmentation, check_segmentation
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.models.pronunciation.assessor import Assessor

Audio = Signal | bytes | Path
_AUDIO = "the bytes of a WAV, FLAC, OGG or MP3 file, or their base64 text"
_HOT_WORDS = "`hot_words` as text, separated by commas"


def _as_it_is(audio: Audio) -> Audio:
    return audio


def _any_name(name: str) -> str:
    return name


@dataclass(frozen=True)
class Tables:
    """Transcribes tables with an engine; with a pronunciation model, assesses them."""

    engine: Engine
    speaker: str = ""
    """Whose the model is, if it is one speaker's."""
    read: Callable[[Audio], Audio] = _as_it_is
    """What is done with the audio of a row before the engine has it; may raise `AsrLabError`."""
    adapter_of: Callable[[str], str] = _any_name
    """The adapter that a name means; may raise `AsrLabError`."""
    most_hot_words: int | None = None
    """Of a table; None: any number."""
    allows_whole: bool = True
    """Whether long recordings may be recognised in one piece, whose memory grows with their length."""

    def predict(self, table: pd.DataFrame, params: Mapping[str, Any]) -> pd.DataFrame:
        """Return one row for each; raises `AsrLabError` for what concerns all rows."""
        batch_size, wants_words = params.get("batch_size"), bool(params.get("words"))
        if batch_size is not None and int(batch_size) < 1:
            raise AsrLabError(f"batch_size is {batch_size}", allowed="1 or more, or none: chosen by the device")
        if "audio" not in table:
            raise AsrLabError("the column `audio` is missing", allowed=_AUDIO)
        named = self._adapters(table, str(params.get("adapter") or ""))
        hot_words = self._hot_words(params.get("hot_words") or "")
        segmentation = self._segmentation(params.get("segment") or "")
        if {"text", "phonemes"} & set(table):
            if family(self.engine.recognizer.model_type).takes_text:
                return self._assess(table)
            if table[list({"text", "phonemes"} & set(table))].notna().to_numpy().any():
                raise AsrLabError("`text` and `phonemes` are for pronunciation models", allowed="`audio`, `adapter`")
        make = partial(Request, hot_words=hot_words, words=wants_words, segmentation=segmentation)
        given = self._requests(table["audio"], named, make)
        results = list(self.engine.transcribe(given, batch_size=int(batch_size or 0)))
        answer = pd.DataFrame({"text": [one.text for one in results]}, index=table.index)
        if wants_words:
            answer["words"] = [_as_json(one.words) for one in results]
        if any(named):
            answer["adapter"] = [one.adapter for one in results]
        if any(one.hot_words for one in results):
            answer["hot_words"] = [_as_json(one.hot_words) for one in results]
        if any(one.error for one in results):
            answer["error"] = [one_sentence(one.error) if one.error else "" for one in results]
        return answer

    def _adapters(self, table: pd.DataFrame, usual: str) -> list[str]:
        """Return the adapter of each row, "" for the model alone; raises `AsrLabError` if the model is another's."""
        column = table["adapter"] if "adapter" in table else [None] * len(table)
        named = [_name(value) or usual for value in column]
        if not self.speaker:
            self.engine.adapter(self.adapter_of(usual) if usual else "")
            return named
        if others := sorted({name for name in named if name} - {self.speaker}):
            raise AsrLabError(
                f"this model is {self.speaker}'s: it has no adapter {others[0]!r}",
                allowed=f"adapter={self.speaker}, or none; the base model takes any speaker's",
            )
        return [""] * len(table)

    def _hot_words(self, given: object) -> tuple[str, ...]:
        """Return the hot words of all rows; raises `AsrLabError` for too many, or what the recogniser cannot write."""
        if not isinstance(given, str):
            raise AsrLabError(f"`hot_words` is {given!r}"[:100], allowed=_HOT_WORDS)
        words = split_hot_words(given)
        if self.most_hot_words is not None and len(words) > self.most_hot_words:
            raise AsrLabError(
                f"there are {counted(len(words), 'hot word')}", allowed=f"{self.most_hot_words} of a request"
            )
        if words:
            self.engine.decoders.check(self.engine.decoders.hot_words(words))
        return words

    def _segmentation(self, given: object) -> Segmentation | None:
        """Return how long recordings of the table are cut; raises `AsrLabError` for what cannot be."""
        if given == "":
            return None
        allowed = [one for one in SEGMENTATIONS if one != "none" or self.allows_whole]
        chosen = next((one for one in allowed if one == given), None)
        if chosen is None:
            raise AsrLabError(f"segment is {given!r}"[:100], allowed=f"{listing(allowed)}, for recordings over 30 s")
        check_segmentation(chosen)
        return chosen

    def _requests(
        self, audio: Iterable[object], adapters: Iterable[str], make: Callable[..., Request]
    ) -> Iterator[Request | AsrLabError]:
        """Yield the request of each row, or why it is none."""
        for value, name in zip(audio, adapters, strict=True):
            try:
                adapter = self.adapter_of(name) if name else ""
                yield make(audio=self.read(_audio(value)), adapter=adapter)
            except AsrLabError as error:
                yield error

    def _assess(self, table: pd.DataFrame) -> pd.DataFrame:
        from asr_lab.serving.assess import assess_row

        columns: dict[str, list[str]] = {"text": [], "phonemes": [], "error": []}
        rows = table.drop(columns="audio").to_dict("records")
        for audio, row in zip(table["audio"], rows, strict=True):
            assessed, sentence = {"text": "", "phonemes": ""}, ""
            try:
                samples = read_samples(Request(audio=self.read(_audio(audio))))[0]
                assessed = assess_row(cast("Assessor", self.engine.recognizer), samples, row)
            except AsrLabError as error:
                sentence = one_sentence(error)
            for name, value in {**assessed, "error": sentence}.items():
                columns[name].append(value)
        answer = pd.DataFrame(columns, index=table.index)
        return answer if any(columns["error"]) else answer.drop(columns="error")


def _name(value: object) -> str:
    """Return the adapter's name in a cell, "" for none; raises `AsrLabError` for other types."""
    if isinstance(value, str):
        return value.strip()
    if np.ndim(cast("Any", value)) or not pd.isna(cast("Any", value)):
        raise AsrLabError(f"`adapter` is of type {type(value).__name__}", allowed="a speaker's name, or none")
    return ""


def split_hot_words(text: str) -> tuple[str, ...]:
    """Return words and phrases that commas or line breaks separate."""
    return tuple(word for part in text.splitlines() for one in part.split(",") if (word := " ".join(one.split())))


def _audio(value: object) -> Audio:
    """Return the audio of a row: bytes, decoded if they are base64 text, or a path or samples; raises `AsrLabError`."""
    if isinstance(value, Path | np.ndarray):
        return value
    if isinstance(value, str):
        value = value.encode("ascii", "replace")
    if not isinstance(value, bytes | bytearray):
        raise AsrLabError(f"`audio` is of type {type(value).__name__}", allowed=_AUDIO)
    content = bytes(value)
    if kind_of(content[:HEAD_BYTES]) not in ("", "a text"):
        return content
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)  # `base64` and MIME break lines
    except binascii.Error as error:
        if kind_of(content[:HEAD_BYTES]) != "a text" and not content.isascii():
            return content  # whose fault libsndfile names
        raise AsrLabError(f"`audio` is not valid base64: {error}", allowed=_AUDIO) from error


def _as_json(rows: Sequence[Any]) -> str:
    return json.dumps([asdict(one) for one in rows], ensure_ascii=False)


def one_sentence(error: AsrLabError) -> str:
    """Return a message in one line, without where: paths of the server are no client's concern."""
    return " ".join(error.what.split()) + (f"; allowed: {' '.join(error.allowed.split())}" if error.allowed else "")
