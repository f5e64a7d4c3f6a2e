"""Configurations of trainings that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asr_lab.config.load import load, parse_overrides


def learning(corpus: Path, *keys: str) -> Any:
    """A DeepSpeech2 that learns something within some epochs."""
    return shortest(corpus, "model.hidden_size=24", "model.conv_channels=4", "train.epochs=2", "train.lr=5e-3", *keys)


def shortest(corpus: Path, *keys: str) -> Any:
    """One epoch of the smallest DeepSpeech2, on utterances that validate it too."""
    small = ["data.test=", "model.hidden_size=16", "model.conv_channels=4", "train.epochs=1", "train.batch_size=6"]
    return load(None, parse_overrides([f"data.train={corpus}", f"data.val={corpus}", *small, *keys]), "deepspeech2")
