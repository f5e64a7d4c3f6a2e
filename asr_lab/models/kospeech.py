"""KoSpeech's DeepSpeech2 weights under the names used here.

Known so far is the head of KoSpeech's later commits and of openspeech (H3: `nn.LayerNorm`, linear without bias).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from asr_lab.errors import AsrLabError, listing

_RENAMED = (
    (re.compile(r"^conv\.conv\.sequential\.(\d)\."), r"conv.layers.\1."),
    (re.compile(r"^fc\.0\.(weight|bias)$"), r"head.0.\1"),
    (re.compile(r"^fc\.1\.linear\.weight$"), "head.1.weight"),
    (re.compile(r"^(rnn_layers\.\d+\.batch_norm\.\w+)$"), r"\1"),
    (re.compile(r"^(rnn_layers\.\d+)\.rnn\.((?:weight|bias)_[ih]h_l0)$"), r"\1.forward_rnn.\2"),
    (re.compile(r"^(rnn_layers\.\d+)\.rnn\.((?:weight|bias)_[ih]h_l0)_reverse$"), r"\1.backward_rnn.\2"),
)


def convert_state_dict(kospeech: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """KoSpeech's state dict as one for `DeepSpeech2ForCTC`; raises `AsrLabError` that lists keys it cannot place."""
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
        raise AsrLabError(f"{len(unknown)} keys are not of a DeepSpeech2 that is known here: {listing(unknown)}")
    return converted
