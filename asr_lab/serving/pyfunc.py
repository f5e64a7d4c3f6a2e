"""The model as MLflow serves it (models from code: nothing is pickled). This file travels with every logged model.

Input: a table with a column `audio` of bytes (a WAV, FLAC, OGG or MP3 file each, or its base64 text; also m4a, WebM and
others where PyAV or ffmpeg is installed); in Python also a path or samples (num_samples,) at 16 kHz. A column `adapter`
names the speaker's registered adapter of a row.
Output: a table with a column `text`. A row that cannot be transcribed has an empty text, and the reason in a column
`error`. With adapters, `adapter` is the version used. An adapter's model fetches its base by the pinned URI it was made
for.

Parameters: `words`: also return `words`, a JSON list of `text, start_s, end_s, confidence`; `adapter`: that of rows
without one; `batch_size`: most rows of a batch. What they cannot be is refused with one sentence.

A pronunciation model also takes a column `text` (the English sentence to pronounce) or `phonemes` (the same in ARPAbet,
separated by spaces). Its `text` is the recognised phonemes; `phonemes` is a JSON list with an object per canonical
phoneme: `phoneme, word, error_score, wrong, said, start_s, end_s`.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from asr_lab.data.audio import Signal
from asr_lab.data.containers import HEAD_BYTES, kind_of
from asr_lab.errors import AsrLabError
from asr_lab.families import family
from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager
from asr_lab.serving.adapter_cache import AdapterCache
from asr_lab.serving.assess import assess_row
from asr_lab.serving.engine import Engine, Request, Result, read_samples
from asr_lab.serving.registered import Registered

if TYPE_CHECKING:
    from asr_lab.models.pronunciation.assessor import Assessor

_AUDIO = "the bytes of a WAV, FLAC, OGG or MP3 file, or their base64 text"
_log = logging.getLogger(__name__)


class RefusedError(MlflowException):
    """What a client is answered: one sentence in `message`, without a trace, paths, or the data that it sent."""

    @property
    def message(self) -> str:
        return self._sentence

    @message.setter
    def message(self, text: str) -> None:
        self._sentence = text.rpartition("\nError: ")[2]  # MLflow's server puts the data before it


class SpeechRecognizer(PythonModel):
    """Recognises the audio of each row."""

    def load_context(self, context: Any) -> None:
        """Load the recogniser, or the adapter and its base."""
        own = context.artifacts.get("model")
        base_uri = (context.model_config or {}).get("base_uri", "")
        store = Registered()
        folder = Path(own) if own else store.resolve(base_uri)
        self.recognizer = load_model(folder, store.resolve)
        self.speaker, adapters = "", None
        if adapter := context.artifacts.get("adapter"):
            self.speaker = AdapterManager().get_adapter_info(str(adapter)).adapter_name
            self.recognizer.attach_adapter(AdapterManager(), str(adapter), base_uri)
        elif self.recognizer.takes_adapters:
            load = self.recognizer.adapter_loader(base_uri)
            kind = self.recognizer.adapter_kind
            names = tuple if kind.folder else store.speakers
            adapters = AdapterCache(load, store, kind=kind, folder=None, names=names)
        self.engine = Engine(self.recognizer, adapters)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:  # as the signature says
        try:
            return self._predict(model_input, params or {})
        except AsrLabError as error:
            raise RefusedError(_sentence(error), INVALID_PARAMETER_VALUE) from error
        except Exception as error:
            _log.exception("a request failed")
            what = f"the model failed on this request ({type(error).__name__}); the server's log has the details"
            raise RefusedError(what, INTERNAL_ERROR) from None

    def _predict(self, table: pd.DataFrame, params: Mapping[str, Any]) -> pd.DataFrame:
        batch_size, wants_words = params.get("batch_size"), bool(params.get("words"))
        if batch_size is not None and int(batch_size) < 1:
            raise AsrLabError(f"batch_size is {batch_size}", allowed="1 or more, or none: chosen by the device")
        if "audio" not in table:
            raise AsrLabError("the column `audio` is missing", allowed=_AUDIO)
        named = self._adapters(table, str(params.get("adapter") or ""))
        if {"text", "phonemes"} & set(table):
            if family(self.recognizer.model_type).takes_text:
                return self._assess(table)
            if table[list({"text", "phonemes"} & set(table))].notna().to_numpy().any():
                raise AsrLabError("`text` and `phonemes` are for pronunciation models", allowed="`audio`, `adapter`")
        given = _requests(table["audio"], named)
        results = list(self.engine.transcribe(given, words=wants_words, batch_size=int(batch_size or 0)))
        answer = pd.DataFrame({"text": [one.text for one in results]}, index=table.index)
        if wants_words:
            answer["words"] = [_as_json(one) for one in results]
        if any(named):
            answer["adapter"] = [one.adapter for one in results]
        if any(one.error for one in results):
            answer["error"] = [_sentence(one.error) if one.error else "" for one in results]
        return answer

    def _adapters(self, table: pd.DataFrame, usual: str) -> list[str]:
        """Return the adapter of each row, "" for the model alone; raises `AsrLabError` if the model is another's."""
        column = table["adapter"] if "adapter" in table else [None] * len(table)
        named = [value.strip() if isinstance(value, str) and value.strip() else usual for value in column]
        if not self.speaker:
            self.engine.adapter(usual)
            return named
        if others := sorted({name for name in named if name} - {self.speaker}):
            raise AsrLabError(
                f"this model is {self.speaker}'s: it has no adapter {others[0]!r}",
                allowed=f"adapter={self.speaker}, or none; the base model takes any speaker's",
            )
        return [""] * len(table)

    def _assess(self, table: pd.DataFrame) -> pd.DataFrame:
        columns: dict[str, list[str]] = {"text": [], "phonemes": [], "error": []}
        rows = table.drop(columns="audio").to_dict("records")
        for audio, row in zip(table["audio"], rows, strict=True):
            assessed, sentence = {"text": "", "phonemes": ""}, ""
            try:
                samples = read_samples(Request(audio=_audio(audio)))[0]
                assessed = assess_row(cast("Assessor", self.recognizer), samples, row)
            except AsrLabError as error:
                sentence = _sentence(error)
            for name, value in {**assessed, "error": sentence}.items():
                columns[name].append(value)
        answer = pd.DataFrame(columns, index=table.index)
        return answer if any(columns["error"]) else answer.drop(columns="error")


def _requests(audio: Iterable[object], adapters: Iterable[str]) -> Iterator[Request | AsrLabError]:
    """Yield the request of each row, or why it is none."""
    for value, adapter in zip(audio, adapters, strict=True):
        try:
            yield Request(audio=_audio(value), adapter=adapter)
        except AsrLabError as error:
            yield error


def _audio(value: object) -> Signal | bytes | Path:
    """Return the audio of a row: bytes, decoded if they are base64 text, or a path or samples; raises `AsrLabError`."""
    if isinstance(value, Path | np.ndarray):
        return value
    if isinstance(value, str):
        value = value.encode("ascii", "replace")
    if not isinstance(value, bytes | bytearray):
        raise AsrLabError(f"`audio` is {value!r}"[:100], allowed=_AUDIO)
    content = bytes(value)
    if kind_of(content[:HEAD_BYTES]) not in ("", "a text"):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        if kind_of(content[:HEAD_BYTES]) != "a text" and not content.isascii():
            return content  # whose fault libsndfile names
        raise AsrLabError(f"`audio` is not valid base64: {error}", allowed=_AUDIO) from error


def _as_json(result: Result) -> str:
    return json.dumps([asdict(word) for word in result.words], ensure_ascii=False)


def _sentence(error: AsrLabError) -> str:
    """Return a message in one line, without where: paths of the server are no client's concern."""
    return " ".join(error.what.split()) + (f"; allowed: {' '.join(error.allowed.split())}" if error.allowed else "")


mlflow.models.set_model(SpeechRecognizer())
