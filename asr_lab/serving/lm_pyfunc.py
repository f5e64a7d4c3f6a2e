"""The language model as MLflow serves it (models from code: nothing is pickled). This file travels with it.

Input: a table with a column `text` of normalised sentences, as the model's header says. Output: a table with the
columns `log10_probability` (of the sentence and its end) and `perplexity`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from asr_lab.decoding import arpa
from asr_lab.decoding.ngram import split_text


class LanguageModelScorer(PythonModel):
    """Scores the text of each row."""

    def load_context(self, context: Any) -> None:
        path = Path(context.artifacts["lm"])
        header = arpa.read(path).header
        self.units = header.units if header else "words"
        self.model = arpa.load(path)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        rows = []
        for text in model_input["text"]:
            units = split_text(str(text), self.units)
            score = self.model.sentence(units)
            rows.append((score, 10 ** (-score / (len(units) + 1))))
        return pd.DataFrame(rows, columns=["log10_probability", "perplexity"], index=model_input.index)


mlflow.models.set_model(LanguageModelScorer())
