"""Training a DeepSpeech2."""

from __future__ import annotations

from typing import Literal

from asr_lab.config.schema.augment import Augment
from asr_lab.config.schema.base import Positive, RecognitionModel
from asr_lab.config.schema.recognition import RecognitionExperiment


class DeepSpeech2Model(RecognitionModel):
    """DeepSpeech2 (Amodei et al. 2016) as in KoSpeech; the small size here is the demo's."""

    pretrained: str = ""
    """Fine-tune: the model whose weights, vocabulary and text normaliser training starts from (a folder,
    `models:/NAME@alias`, `runs:/ID/model`); its sizes are taken over. Empty: from scratch."""
    extend_vocabulary: bool = False
    """With `pretrained`: give characters that it does not know classes of their own."""
    rnn_type: Literal["gru", "lstm", "rnn"] = "gru"
    hidden_size: Positive = 256
    """Units of each direction."""
    num_layers: Positive = 2
    bidirectional: bool = True
    conv_channels: Positive = 16
    """Channels of both convolutions; KoSpeech has 32, which doubles the cost on CPU at this size."""
    head: Literal["layer_norm", "kospeech_layer_norm", "mlp"] = "layer_norm"
    """The output layer as in KoSpeech's later commits, of February 2021, or v1 (imported models have their own)."""


class DeepSpeech2Experiment(RecognitionExperiment):
    """Train a DeepSpeech2 recogniser."""

    recipe: Literal["deepspeech2"] = "deepspeech2"
    augment: Augment = Augment()
    model: DeepSpeech2Model = DeepSpeech2Model()
