"""Select the trainable part of a wav2vec2 model: all layers, upper layers, the head, or adapters (peft).

Frozen layers are below all trainable ones and need no gradient, so they run without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
from torch import nn

from asr_lab.config.schema import Lora, Wav2Vec2Model
from asr_lab.errors import AsrLabError, listing
from asr_lab.models.adapter import weights_digest
from asr_lab.models.wav2vec2.bases import split_revision
from asr_lab.models.wav2vec2.network import SpeechCTC, encoder_of

HEAD = "lm_head"
_BYPASSED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}
"""Layers whose weights a model uses directly instead of calling the layer, so that adapters on them have no effect."""


def set_trainable(model: SpeechCTC, settings: Wav2Vec2Model, base: str) -> None:
    """Freeze layers and insert adapters according to `settings.tune`."""
    network = model.plain
    network.requires_grad_(True)
    if settings.tune == "full":
        if settings.freeze_features:
            network.freeze_feature_encoder()
        return
    if settings.tune != "head":
        _check_depth(network, settings.freeze_layers, base)
    _freeze_all_but_head(network)
    if settings.tune == "upper":
        _unfreeze_upper(network, settings.freeze_layers)
    elif settings.tune == "lora":
        digest = weights_digest(encoder_of(network)) if Path(base).is_dir() else ""  # other bases cannot change
        model.network = _with_adapters(network, settings.lora, settings.freeze_layers, base)
        network.config.adapters = {
            "lora": settings.lora.model_dump(),
            "freeze_layers": settings.freeze_layers,
            "base_digest": digest,
        }


def _check_depth(network: Any, freeze_layers: int, where: str) -> None:
    """Raise `AsrLabError` if `freeze_layers` would leave no trainable layer."""
    count = len(encoder_of(network).encoder.layers)
    if freeze_layers >= count:
        raise AsrLabError(
            f"model.freeze_layers={freeze_layers} leaves none of the base's {count} layers trainable",
            where=where,
            allowed=f"0 to {count - 1}, or model.tune=head",
        )


def _freeze_all_but_head(network: Any) -> None:
    network.freeze_feature_encoder()  # else it requests a gradient of the signal
    encoder_of(network).requires_grad_(False)


def _unfreeze_upper(network: Any, freeze_layers: int) -> None:
    """Make the layers from `freeze_layers` on trainable, and the final layer norm if the model has one."""
    stack = encoder_of(network).encoder
    stack.layers[freeze_layers:].requires_grad_(True)
    if network.config.do_stable_layer_norm:
        stack.layer_norm.requires_grad_(True)


def _with_adapters(network: Any, settings: Lora, freeze_layers: int, base: str) -> Any:
    """Wrap the network as a `PeftModel` of `base`, with adapters from layer `freeze_layers` on and a trainable head.

    Raise `AsrLabError` if a target names no layer, or one on which adapters have no effect.
    """
    prefix = f"{network.base_model_prefix}.encoder.layers"
    chosen = "|".join(map(str, range(freeze_layers, len(encoder_of(network).encoder.layers))))
    _check_targets(network, settings, base)
    names = "|".join(map(re.escape, settings.targets))
    config = _METHODS[settings.method](settings, f"{re.escape(prefix)}\\.({chosen})\\.(.+\\.)?({names})")
    adapted = peft.get_peft_model(network, config)
    config.base_model_name_or_path, config.revision = split_revision(base)  # peft sets its own before
    return adapted


def _check_targets(network: Any, settings: Lora, base: str) -> None:
    layer = encoder_of(network).encoder.layers[0]
    linear = {name.rpartition(".")[2] for name, one in layer.named_modules() if isinstance(one, nn.Linear)}
    bypassed = _BYPASSED.get(network.config.model_type, ())
    usable = sorted(linear - set(bypassed))
    unknown = [name for name in settings.targets if name not in linear]
    if unknown:
        what = f"model.lora.targets: the base's layers have no linear layer {listing(unknown)}"
        raise AsrLabError(what, where=base, allowed=listing(usable))
    if useless := [name for name in settings.targets if name in bypassed]:
        raise AsrLabError(
            f"model.lora.targets: adapters on {listing(useless)} have no effect in a {network.config.model_type}: "
            "its attention uses their weights directly",
            where=base,
            allowed=listing(usable),
        )


def _lora(settings: Lora, targets: str, **more: bool) -> Any:
    return peft.LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        bias="none",
        target_modules=targets,
        modules_to_save=[HEAD],
        **more,
    )


def _product(kind: Any, settings: Lora, targets: str) -> Any:
    return kind(
        r=settings.r,
        alpha=settings.alpha,
        module_dropout=settings.dropout,
        target_modules=targets,
        modules_to_save=[HEAD],
    )


def _scales(settings: Lora, targets: str) -> Any:
    return peft.IA3Config(target_modules=targets, feedforward_modules=[], modules_to_save=[HEAD])


_METHODS: dict[str, Callable[[Lora, str], Any]] = {
    "lora": _lora,
    "dora": lambda settings, targets: _lora(settings, targets, use_dora=True),
    "rslora": lambda settings, targets: _lora(settings, targets, use_rslora=True),
    "loha": lambda settings, targets: _product(peft.LoHaConfig, settings, targets),
    "lokr": lambda settings, targets: _product(peft.LoKrConfig, settings, targets),
    "ia3": _scales,
}
