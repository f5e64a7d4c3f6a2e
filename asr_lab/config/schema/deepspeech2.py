"""Configuration of DeepSpeech2 training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from asr_lab.config.schema.augment import Augment
from asr_lab.config.schema.base import Positive, RecognitionModel
from asr_lab.config.schema.recognition import RecognitionExperiment


class DeepSpeech2Model(RecognitionModel):
    """DeepSpeech2 (Amodei et al. 2016) as in KoSpeech; the default sizes are those of the demo."""

    pretrained: str = ""
    """Model to fine-tune: a folder, `models:/NAME@alias` or `runs:/ID/model`, with its sizes, vocabulary and text
    normaliser. Empty: train from scratch."""
    extend_vocabulary: bool = False
    """With `pretrained`: add classes for characters that are not in its vocabulary."""
    rnn_type: Literal["gru", "lstm", "rnn"] = "gru"
    hidden_size: Positive = 256
    """Hidden units per direction."""
    num_layers: Positive = 2
    bidirectional: bool = True
    """An RNN in each direction of time; `model.streaming=true` makes it false."""
    streaming: bool = False
    """Recognise while audio comes in (`asr-lab serve`): one RNN that reads forward, and features that are normalised by
    the statistics so far. It looks 150 ms ahead."""
    conv_channels: Positive = 16
    """Channels of both convolutions; KoSpeech uses 32, which doubles the cost on CPU at this size."""
    head: Literal["layer_norm", "kospeech_layer_norm", "mlp"] = "layer_norm"
    """Output layer: that of KoSpeech's later commits, of February 2021, or of v1."""
    normalize: Literal["utterance", "speech"] = "utterance"
    """Filter banks are normalised by all frames (KoSpeech), or by loud ones alone, which silence does not change."""

    @model_validator(mode="before")
    @classmethod
    def _streams_forward(cls, given: Any) -> Any:
        if isinstance(given, dict) and "bidirectional" not in given and str(given.get("streaming")).lower() == "true":
            return {**given, "bidirectional": False}
        return given

    @model_validator(mode="after")
    def _one_direction_streams(self) -> Self:
        if self.streaming and self.bidirectional:
            raise ValueError(
                "model.streaming=true needs model.bidirectional=false: a backward RNN begins at the end of the audio"
            )
        if self.streaming and self.normalize == "speech":
            raise ValueError("model.streaming=true normalises by the frames so far, model.normalize=speech by all")
        return self


class DeepSpeech2Experiment(RecognitionExperiment):
    """Train a DeepSpeech2 recogniser."""

    recipe: Literal["deepspeech2"] = "deepspeech2"
    augment: Augment = Augment()
    model: DeepSpeech2Model = DeepSpeech2Model()
