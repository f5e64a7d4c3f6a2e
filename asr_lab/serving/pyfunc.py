"""The model as MLflow serves it (models from code: nothing is pickled). This file travels with every logged model.

Input: a table with a column `audio` of bytes (a WAV, FLAC, OGG or MP3 file each; base64 text is understood too).
Output: a table with a column `text`. An adapter's model fetches its base by the pinned URI it was made for.

A pronunciation model also takes a column `text` (the English sentence to pronounce) or `phonemes` (the same in ARPAbet,
separated by spaces). Its `text` is the recognised phonemes; `phonemes` is a JSON list with an object per canonical
phoneme: `phoneme, word, error_score, wrong, said, start_s, end_s`.
"""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from asr_lab.data.audio import Signal, read_audio
from asr_lab.errors import AsrLabError
from asr_lab.families import family
from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager
from asr_lab.serving.assess import assess_row
from asr_lab.serving.logged_model import stored_uri

if TYPE_CHECKING:
    from asr_lab.models.pronunciation.assessor import Assessor

_AUDIO = "the bytes of a WAV, FLAC, OGG or MP3 file, or their base64 text"


class SpeechRecognizer(PythonModel):
    """Recognises the audio of each row."""

    def load_context(self, context: Any) -> None:
        """Load the recogniser, or the adapter and its base."""
        own = context.artifacts.get("model")
        base_uri = (context.model_config or {}).get("base_uri", "")
        folder = Path(own) if own else _base_folder(base_uri)
        self.recognizer = load_model(folder, _base_folder)
        adapter = context.artifacts.get("adapter")
        if adapter:
            self.recognizer.attach_adapter(AdapterManager(), str(adapter), base_uri)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        signals = [_signal(value, f"row {number}") for number, value in enumerate(model_input["audio"])]
        if family(self.recognizer.model_type).takes_text and {"text", "phonemes"} & set(model_input):
            rows = zip(signals, model_input.drop(columns="audio").to_dict("records"), strict=True)
            assessed = [
                assess_row(cast("Assessor", self.recognizer), *row, where=f"row {number}")
                for number, row in enumerate(rows)
            ]
            return pd.DataFrame(assessed, columns=["text", "phonemes"], index=model_input.index)
        texts = self.recognizer.transcribe(signals, batch_size=int((params or {}).get("batch_size", 8)))
        return pd.DataFrame({"text": list(texts)}, index=model_input.index)


def _base_folder(uri: str) -> Path:
    stored = stored_uri(mlflow.MlflowClient(), uri)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=stored)) / "artifacts" / "model"


def _signal(value: object, where: str) -> Signal:
    """Return the samples of a file's bytes, or of their base64; raises `AsrLabError` with `where`."""
    try:
        content = base64.b64decode(value) if isinstance(value, str) else value
    except binascii.Error as error:
        raise AsrLabError(f"`audio` is not valid base64: {error}", where=where, allowed=_AUDIO) from error
    if not isinstance(content, bytes | bytearray):
        raise AsrLabError(f"`audio` is {content!r}", where=where, allowed=_AUDIO)
    return read_audio(io.BytesIO(content), where=where)


mlflow.models.set_model(SpeechRecognizer())
