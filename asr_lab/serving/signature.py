"""The signature of served recognisers, one for all families.

MLflow drops what a signature does not declare; what a model cannot do it refuses itself.
"""

from __future__ import annotations

from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec("binary", "audio"),
            ColSpec("string", "adapter", required=False),
            ColSpec("string", "text", required=False),  # of a pronunciation model
            ColSpec("string", "phonemes", required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec("string", "text"),
            *(ColSpec("string", name, required=False) for name in ("words", "adapter", "hot_words")),
            *(ColSpec("string", name, required=False) for name in ("phonemes", "error")),
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec("batch_size", "long", None),
            ParamSpec("adapter", "string", ""),
            ParamSpec("words", "boolean", False),
            ParamSpec("hot_words", "string", ""),
            ParamSpec("segment", "string", ""),
        ]
    ),
)
