"""A tiny streaming recogniser, made within milliseconds, and audio as clients of streams send it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from encoders import VOCABULARY

from asr_lab.data.text import TextNormalizer
from asr_lab.models.adapter import AdapterManager, MLPAdapter
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer

COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


def streaming_base() -> DeepSpeech2Recognizer:
    """An untrained network with much to say."""
    torch.manual_seed(0)
    shape = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "conv_channels": 4}
    model = DeepSpeech2ForCTC(DeepSpeech2Config(**shape, streaming=True, bidirectional=False)).eval()
    with torch.no_grad():
        model.head[-1].weight.mul_(20)
        for layer in model.rnn_layers:
            layer.forward_rnn.weight_ih_l0.mul_(8)
            layer.forward_rnn.weight_hh_l0.mul_(4)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.fill_(0.3)
    return DeepSpeech2Recognizer(model, dict(VOCABULARY), TextNormalizer())


def drawn_adapter(folder: Path, name: str, of: DeepSpeech2Recognizer, seed: int, *, residual: bool = True) -> Path:
    """A speaker's adapter with drawn weights."""
    torch.manual_seed(seed)
    made = MLPAdapter(of.base().input_dim, (8,), len(of.units), residual=residual)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return AdapterManager(folder).save_adapter(name, made, of.base("models:/base/1"))


def pcm(samples: np.ndarray) -> bytes:
    """16 bit, little endian."""
    return np.round(32768 * samples).clip(-32768, 32767).astype("<i2").tobytes()


def as_pcm(samples: np.ndarray) -> np.ndarray:
    """The samples that `pcm` leaves."""
    return np.frombuffer(pcm(samples), "<i2").astype(np.float32) / 32768
