"""Configuration of a pronunciation assessment model, saved as `config.json`."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from asr_lab.config.schema import PronunciationLoss
from asr_lab.data.arpabet import PHONEMES
from asr_lab.data.pronunciation import DELETED, UNKNOWN

BLANK = "<pad>"
UNITS: tuple[str, ...] = (BLANK, *PHONEMES, UNKNOWN)
"""Unit of each class of the phoneme logits; the blank is the first."""
DIAGNOSES: tuple[str, ...] = (*PHONEMES, DELETED, UNKNOWN)
"""Unit of each diagnosis class: what was spoken instead of a canonical phoneme."""


class PronunciationConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of a model; `encoder` is the configuration of its encoder, `front_end` the encoder's input."""

    model_type = "pronunciation"

    def __init__(
        self,
        head: str = "cross",
        encoder: dict[str, Any] | None = None,
        front_end: str = "own",
        head_size: int = 128,
        head_layers: int = 2,
        head_heads: int = 4,
        cross_size: int = 64,
        dropout: float = 0.1,
        window: int = 2,
        diagnosis: bool = True,
        scores: bool = False,
        loss: dict[str, Any] | None = None,
        vocab_size: int = len(UNITS),
        pad_token_id: int = 0,
        **rest: Any,
    ) -> None:
        self.head = head
        self.encoder = encoder or {"model_type": "wav2vec2"}
        self.front_end = front_end
        self.head_size = head_size
        self.head_layers = head_layers
        self.head_heads = head_heads
        self.cross_size = cross_size
        self.dropout = dropout
        self.window = window
        self.diagnosis = diagnosis
        self.scores = scores
        self.loss = loss or PronunciationLoss().model_dump()
        self.vocab_size = vocab_size
        super().__init__(pad_token_id=pad_token_id, **rest)

    @property
    def encoder_config(self) -> Any:
        """The encoder's configuration as a transformers object."""
        sizes = {key: value for key, value in self.encoder.items() if key != "model_type"}
        return AutoConfig.for_model(self.encoder["model_type"], **sizes)
