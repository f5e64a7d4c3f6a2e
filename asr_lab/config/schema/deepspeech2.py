"""Configuration of DeepSpeech2 training."""

from __future__ import annotations

from typing import Literal

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
    conv_channels: Positive = 16
    """Channels of both convolutions; KoSpeech uses 32, which doubles the cost on CPU at this size."""
    head: Literal["layer_norm", "kospeech_layer_norm", "mlp"] = "layer_norm"
    """Output layer: that of KoSpeech's later commits, of February 2021, or of v1."""
    normalize: Literal["utterance", "speech"] = "utterance"
    """Filter banks are normalised by all frames (KoSpeech), or by loud ones alone, which silence does not change."""


class DeepSpeech2Experiment(RecognitionExperiment):
    """Train a DeepSpeech2 recogniser."""

    recipe: Literal["deepspeech2"] = "deepspeech2"
    augment: Augment = Augment()
    model: DeepSpeech2Model = DeepSpeech2Model()
