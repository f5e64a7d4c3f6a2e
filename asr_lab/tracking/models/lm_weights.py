"""Weights of a registered language model for each recogniser that they were tuned with: a tag of its version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import explain_store_errors
from asr_lab.tracking.tags import LM_WEIGHTS


def weights_of(uri: str) -> dict[str, dict[str, float]]:
    """Return the weights of a version `models:/NAME/3` by the recogniser's name; of other URIs none."""
    name, _, version = uri.removeprefix("models:/").partition("/")
    if not (uri.startswith("models:/") and version.isdigit()):
        return {}
    with explain_store_errors("the registry cannot be read"):
        tags = tracking_client().get_model_version(name, version).tags
    with suppress(ValueError):
        content = json.loads(tags.get(LM_WEIGHTS, "{}"))
        if isinstance(content, dict):
            return content
    return {}


def register_weights(uri: str, recognizer: str, weights: Mapping[str, float]) -> None:
    """Set the weights for a recogniser of this registered name; those of others stay."""
    name, _, version = uri.removeprefix("models:/").partition("/")
    content = weights_of(uri) | {recognizer: dict(weights)}
    with explain_store_errors("the weights cannot be registered"):
        tracking_client().set_model_version_tag(name, version, LM_WEIGHTS, json.dumps(content, ensure_ascii=False))
