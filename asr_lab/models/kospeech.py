"""Convert DeepSpeech2 checkpoints of KoSpeech (sooftware/KoSpeech, v1.0 to its last commit) and openspeech."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from asr_lab.data.importers.kospeech_units import BLANK, read_vocabulary
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, listing
from asr_lab.models.adapter.network import weight_faults
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.unpickle import read_weights
from asr_lab.units import NUM_MEL_BINS, counted

_PREFIXES = re.compile(r"^(?:(?:module|model|encoder)\.)+")
_RENAMED = (
    (re.compile(r"^conv\.conv\.sequential\.(\d)\."), r"conv.layers.\1."),
    (re.compile(r"^(rnn_layers\.\d+\.batch_norm\.\w+)$"), r"\1"),
    (re.compile(r"^(rnn_layers\.\d+)\.rnn\.((?:weight|bias)_[ih]h_l0)$"), r"\1.forward_rnn.\2"),
    (re.compile(r"^(rnn_layers\.\d+)\.rnn\.((?:weight|bias)_[ih]h_l0)_reverse$"), r"\1.backward_rnn.\2"),
    (re.compile(r"^fc\.0\.(weight|bias)$"), r"head.0.\1"),  # nn.LayerNorm
    (re.compile(r"^fc\.0\.gamma$"), "head.0.weight"),  # KoSpeech's own layer norm
    (re.compile(r"^fc\.0\.beta$"), "head.0.bias"),
    (re.compile(r"^fc\.([012])\.linear\.(weight|bias)$"), r"head.\1.\2"),
)
_HEADS = {"fc.0.weight": "layer_norm", "fc.0.gamma": "kospeech_layer_norm", "fc.0.linear.weight": "mlp"}
_GATES = {3: "gru", 4: "lstm", 1: "rnn"}
_JAMO = re.compile(r"[\u1100-\u11ff]")


def import_checkpoint(checkpoint: Path, vocab: Path) -> DeepSpeech2Recognizer:
    """Convert a KoSpeech checkpoint and its vocabulary file to a recogniser with the same outputs.

    Raise `AsrLabError` if the checkpoint is of another architecture or has unknown keys, or if the size of the
    vocabulary does not match.
    """
    weights = {_PREFIXES.sub("", name): tensor.float() for name, tensor in read_weights(checkpoint).items()}
    config = _shape(weights, checkpoint)
    vocabulary = read_vocabulary(vocab)
    if len(vocabulary) != config.vocab_size:
        raise AsrLabError(
            f"the checkpoint has {config.vocab_size} classes, the vocabulary {len(vocabulary)} units and blank",
            where=f"{checkpoint}, {vocab}",
            allowed="the vocabulary that the checkpoint was trained with",
        )
    config.pad_token_id = vocabulary[BLANK]
    model = DeepSpeech2ForCTC(config)
    _fill(model, convert_state_dict(weights), checkpoint)
    return DeepSpeech2Recognizer(model.eval(), vocabulary, _normalizer(vocabulary))


def convert_state_dict(kospeech: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a KoSpeech state dict to `DeepSpeech2ForCTC`; raise `AsrLabError` listing unknown keys."""
    converted: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in kospeech.items():
        for pattern, replacement in _RENAMED:
            if pattern.match(key):
                converted[pattern.sub(replacement, key)] = tensor
                break
        else:
            unknown.append(key)
    if unknown:
        raise AsrLabError(
            f"{counted(len(unknown), 'key', 'do')} not belong to a supported DeepSpeech2: {listing(unknown)}"
        )
    return converted


def _normalizer(vocabulary: Mapping[str, int]) -> TextNormalizer:
    """Return a text normaliser that maps transcripts to the units of the vocabulary."""
    jamo = any(_JAMO.fullmatch(unit) for unit in vocabulary)
    return TextNormalizer(
        lowercase=not any(len(unit) == 1 and unit.isupper() for unit in vocabulary),
        strip_punctuation=not {".", "?"} & set(vocabulary),
        units="jamo" if jamo else "characters",
    )


def _shape(weights: Mapping[str, Tensor], where: Path) -> DeepSpeech2Config:
    """Infer the sizes from the tensors; raise `AsrLabError` if this is not a DeepSpeech2 on 80 mel bins."""
    head = next((name for key, name in _HEADS.items() if key in weights), "")
    conv, hidden = weights.get("conv.conv.sequential.0.weight"), weights.get("rnn_layers.0.rnn.weight_hh_l0")
    last = weights.get("fc.2.linear.weight" if head == "mlp" else "fc.1.linear.weight")
    if conv is None or hidden is None or last is None or not head or tuple(conv.shape[1:]) != (1, 41, 11):
        raise AsrLabError(
            f"not a DeepSpeech2 of KoSpeech or openspeech; its keys: {listing(sorted(weights), 8)}",
            where=str(where),
            allowed="keys conv.conv.sequential.*, rnn_layers.*, fc.*",
        )
    channels, input_size = int(conv.shape[0]), int(weights["rnn_layers.0.rnn.weight_ih_l0"].shape[1])
    gates, rest = divmod(int(hidden.shape[0]), int(hidden.shape[1]))
    if input_size != channels * NUM_MEL_BINS // 4 or rest or gates not in _GATES:
        raise AsrLabError(
            f"the first RNN has {input_size} inputs from {channels} channels",
            where=str(where),
            allowed=f"a model on {NUM_MEL_BINS} mel bins ({channels * NUM_MEL_BINS // 4} inputs)",
        )
    layers = {int(key.split(".")[1]) for key in weights if key.startswith("rnn_layers.")}
    return DeepSpeech2Config(
        vocab_size=int(last.shape[0]),
        rnn_type=_GATES[gates],
        hidden_size=int(hidden.shape[1]),
        num_layers=len(layers),
        bidirectional="rnn_layers.0.rnn.weight_hh_l0_reverse" in weights,
        conv_channels=channels,
        head=head,
    )


def _fill(model: DeepSpeech2ForCTC, weights: dict[str, Tensor], where: Path) -> None:
    wanted = model.state_dict()
    for name in wanted:  # older PyTorch has no counter of batches
        if name.endswith("num_batches_tracked"):
            weights.setdefault(name, torch.tensor(0))
    if faults := weight_faults(weights, wanted):
        raise AsrLabError(f"the checkpoint is not a complete DeepSpeech2: {listing(faults)}", where=str(where))
    model.load_state_dict(weights)
