"""The model as MLflow serves it (models from code: nothing is pickled). This file travels with every logged model.

Input: a table with a column `audio` of bytes (a WAV, FLAC, OGG or MP3 file each, or its base64 text; also m4a, WebM and
others where PyAV or ffmpeg is installed); in Python also a path or samples (num_samples,) at 16 kHz. A column `adapter`
names the speaker's registered adapter of a row.
Output: a table with a column `text`. A row that cannot be transcribed has an empty text, and the reason in a column
`error`. With adapters, `adapter` is the version used. An adapter's model fetches its base by the pinned URI it was made
for.

Parameters: `words`: also return `words`, a JSON list of `text, start_s, end_s, confidence`; `adapter`: that of rows
without one; `hot_words`: words to be expected, separated by commas, for which the column `hot_words` is a JSON list of
`word, without, hot`: how often each was recognised without and with being hot; `segment`: how recordings over 30 s are
cut, `auto` (the default), `vad`, `energy`, or `none`; `batch_size`: most rows of a batch. What they cannot be is
refused with one sentence.

A pronunciation model also takes a column `text` (the English sentence to pronounce) or `phonemes` (the same in ARPAbet,
separated by spaces). Its `text` is the recognised phonemes; `phonemes` is a JSON list with an object per canonical
phoneme: `phoneme, word, error_score, wrong, said, start_s, end_s`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from asr_lab.models import load_model
from asr_lab.models.adapter import AdapterManager
from asr_lab.serving.adapter_cache import AdapterCache
from asr_lab.serving.engine import Engine
from asr_lab.serving.refused import refusing
from asr_lab.serving.registered import Registered
from asr_lab.serving.tables import Tables


class SpeechRecognizer(PythonModel):
    """Recognises the audio of each row."""

    def load_context(self, context: Any) -> None:
        """Load the recogniser, or the adapter and its base."""
        own = context.artifacts.get("model")
        base_uri = (context.model_config or {}).get("base_uri", "")
        store = Registered()
        folder = Path(own) if own else store.resolve(base_uri)
        self.recognizer = load_model(folder, store.resolve, inference=True)
        speaker, adapters = "", None
        if adapter := context.artifacts.get("adapter"):
            speaker = AdapterManager().get_adapter_info(str(adapter)).adapter_name
            self.recognizer.attach_adapter(AdapterManager(), str(adapter), base_uri)
        elif self.recognizer.takes_adapters:
            load = self.recognizer.adapter_loader(base_uri)
            kind = self.recognizer.adapter_kind
            names = tuple if kind.folder else store.speakers
            adapters = AdapterCache(load, store, kind=kind, folder=None, names=names)
        self.engine = Engine(self.recognizer, adapters)
        self.tables = Tables(self.engine, speaker)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:  # as the signature says
        with refusing():
            return self.tables.predict(model_input, params or {})


mlflow.models.set_model(SpeechRecognizer())
