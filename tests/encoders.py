"""Tiny networks of the wav2vec2 family, made within milliseconds: no weights are downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCTC

from asr_lab.config.schema import Wav2Vec2Model
from asr_lab.data.text import BLANK, SPACE, UNKNOWN, TextNormalizer
from asr_lab.models.wav2vec2 import bases, tuning
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer

FAMILY = [(kind, norm) for kind in ("wav2vec2", "hubert", "wavlm") for norm in ("layer", "group")]
VOCABULARY = {unit: index for index, unit in enumerate([BLANK, UNKNOWN, SPACE, *"abcdefg"])}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def network(kind: str = "wav2vec2", norm: str = "layer", **more):
    """A `*ForCTC` as transformers makes it of a base's configuration, its weights drawn."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, **{**SMALL, **more}, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer"
    )
    made = AutoModelForCTC.from_config(bases.for_ctc(config, len(VOCABULARY), {}))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # no bias is nothing
    return made


def speech(kind: str = "wav2vec2", norm: str = "layer", **more) -> SpeechCTC:
    """The same, ready to train."""
    return SpeechCTC(network(kind, norm, **more))


def tuned(model: SpeechCTC, base: str = "nobody/base", **settings) -> SpeechCTC:
    """The model of which only what the settings say learns."""
    tuning.set_trainable(model, Wav2Vec2Model(pretrained="a base", **settings), base)
    return model


def recognizer(model: SpeechCTC) -> Wav2Vec2Recognizer:
    """The model with a vocabulary of seven letters."""
    extractor = bases.usual_extractor(model.config)
    return Wav2Vec2Recognizer(model.eval(), dict(VOCABULARY), TextNormalizer(), feature_extractor=extractor)


def base_folder(folder: Path, kind: str = "wav2vec2", norm: str = "layer", **more) -> Path:
    """A pretrained base as it comes from the hub: encoder weights, no head, no vocabulary, its own masking on."""
    made = network(kind, norm, **more)
    config = made.config
    config.apply_spec_augment, config.layerdrop = True, 0.1
    del config.text
    getattr(made, made.base_model_prefix).save_pretrained(folder)
    return folder


def batch(*lengths: int, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    """Noise of so many samples, with labels of two letters each."""
    generator = torch.Generator().manual_seed(len(lengths))
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    values = torch.randn(len(lengths), longest, generator=generator) * mask
    labels = torch.tensor([[3 + place % 5, 4] for place in range(len(lengths))])
    return {"input_values": values, "attention_mask": mask, "labels": labels, **more}
