"""The model as MLflow serves it (models from code: nothing is pickled). This file travels with every logged model.

Input: a table with a column `audio` of bytes (a WAV, FLAC, OGG or MP3 file each; base64 text is understood too).
Output: a table with a column `text`. An adapter's model fetches its base by the pinned URI it was made for.

A model of pronunciation also takes a column `text` (what should have been said, in English) or `phonemes` (the same in
ARPAbet, with spaces between). Its `text` is the phonemes it heard; `phonemes` is a JSON list with an object for each
canonical phoneme: `phoneme, word, error_score, wrong, said, start_s, end_s`.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from asr_lab.data.audio import read_audio
from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager
from asr_lab.models.pronunciation.assessor import Assessor
from asr_lab.serving.assess import judged


class SpeechRecognizer(PythonModel):
    """Recognises the audio of each row."""

    def load_context(self, context: Any) -> None:
        """Load the recogniser, or the adapter and the base it belongs to."""
        own = context.artifacts.get("model")
        base_uri = (context.model_config or {}).get("base_uri", "")
        folder = Path(own) if own else _base_folder(base_uri)
        self.recognizer = load_model(folder, _base_folder)
        adapter = context.artifacts.get("adapter")
        if adapter:
            self.recognizer.carry(AdapterManager(), str(adapter), base_uri)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        signals = [
            read_audio(io.BytesIO(_bytes(value)), where=f"row {index}")
            for index, value in enumerate(model_input["audio"])
        ]
        if isinstance(self.recognizer, Assessor) and {"text", "phonemes"} & set(model_input):
            rows = model_input.drop(columns="audio").to_dict("records")
            found = [judged(self.recognizer, signal, row) for signal, row in zip(signals, rows, strict=True)]
            return pd.DataFrame(found, index=model_input.index)
        texts = self.recognizer.transcribe(signals, batch_size=int((params or {}).get("batch_size", 8)))
        return pd.DataFrame({"text": list(texts)}, index=model_input.index)


def _base_folder(uri: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri)) / "artifacts" / "model"


def _bytes(value: bytes | str) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)


mlflow.models.set_model(SpeechRecognizer())
