"""The URI by which MLflow finds a run's model."""

from __future__ import annotations

import re

from mlflow import MlflowClient

_OF_RUN = re.compile(r"runs:/(\w+)/model")


def stored_uri(client: MlflowClient, uri: str) -> str:
    """Return `models:/m-...` for `runs:/ID/model`, whatever the run's model is called; any other URI unchanged.

    MLflow itself takes the last part for the model's name, and `model` was the name of all models once.
    """
    if not (of_run := _OF_RUN.fullmatch(uri)):
        return uri
    outputs = client.get_run(of_run[1]).outputs
    logged = outputs.model_outputs if outputs else []
    return f"models:/{logged[-1].model_id}" if logged else uri
