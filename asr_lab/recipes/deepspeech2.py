"""Where a DeepSpeech2's training starts from: nothing, or a model that is there (fine-tuning)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lhotse import CutSet
from torch import nn
from transformers import set_seed

from asr_lab.config.schema import DeepSpeech2Experiment
from asr_lab.data import manifest
from asr_lab.data.text import TextNormalizer, build_vocabulary, outside, split_units
from asr_lab.errors import AsrLabError
from asr_lab.models.deepspeech2 import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.recognizer import Recognizer
from asr_lab.training.recorder import ModelStore

_OWN = {"pretrained", "extend_vocabulary"}  # keys of `model` that are not sizes


@dataclass(frozen=True)
class Start:
    """The untrained or pretrained recogniser, the configuration as it really is, and the model it came from."""

    recognizer: Recognizer
    config: DeepSpeech2Experiment
    base_uri: str = ""


def from_scratch(config: DeepSpeech2Experiment, cuts: CutSet) -> Start:
    """A new model whose vocabulary is what the transcripts of `cuts` are written with."""
    normalizer = TextNormalizer.of(config.data.text)
    vocabulary = build_vocabulary(_units(cuts, normalizer))
    set_seed(config.run.seed)
    sizes = config.model.model_dump(exclude=_OWN)
    shape = DeepSpeech2Config(vocab_size=len(vocabulary), text=asdict(normalizer), **sizes)
    return Start(Recognizer(DeepSpeech2ForCTC(shape), vocabulary, normalizer), config)


def fine_tune(
    config: DeepSpeech2Experiment, cuts: CutSet, store: ModelStore, load: Callable[[Path], Recognizer]
) -> Start:
    """The model under `model.pretrained` with its vocabulary and text normaliser, ready to learn.

    Raises `AsrLabError` when sizes or text settings were asked for that are not the model's.
    """
    uri = store.pin(config.model.pretrained)
    recognizer = load(store.resolve(uri))
    recognizer.model.unfreeze_base_model()
    config = _as_it_is(config, recognizer, uri)
    set_seed(config.run.seed)
    if config.model.extend_vocabulary:
        new = outside(_units(cuts, recognizer.normalizer), recognizer.vocabulary)
        extend_vocabulary(recognizer, sorted(new))
    return Start(recognizer, config, uri)


def _units(cuts: CutSet, normalizer: TextNormalizer) -> list[str]:
    return [split_units(normalizer(manifest.supervision(cut).text or ""), normalizer) for cut in cuts]


def _as_it_is(config: DeepSpeech2Experiment, recognizer: Recognizer, uri: str) -> DeepSpeech2Experiment:
    """The configuration with the model's own sizes and text settings."""
    shape = recognizer.model.config
    sizes = {name: getattr(shape, name) for name in type(config.model).model_fields if name not in _OWN}
    text: dict[str, Any] = asdict(recognizer.normalizer)
    wrong = [
        f"{prefix}.{name}={getattr(asked, name)} (it has {name}={has[name]})"
        for prefix, asked, has in (("model", config.model, sizes), ("data.text", config.data.text, text))
        for name in asked.model_fields_set & set(has)
        if getattr(asked, name) != has[name]
    ]
    if wrong:
        raise AsrLabError(
            f"what is asked for is not what the pretrained model is: {', '.join(wrong)}",
            where=uri,
            hint="leave these keys out: fine-tuning takes over what the model has",
        )
    model = config.model.model_copy(update={**sizes, "pretrained": uri})
    data = config.data.model_copy(update={"text": config.data.text.model_copy(update=text)})
    return config.model_copy(update={"model": model, "data": data})


def extend_vocabulary(recognizer: Recognizer, units: list[str]) -> None:
    """Give each unit a class of its own behind those there are, whose weights stay as they are bit for bit."""
    if not units:
        return
    last, old = [(n, layer) for n, layer in recognizer.model.head.named_children() if isinstance(layer, nn.Linear)][-1]
    wider = nn.Linear(old.in_features, old.out_features + len(units), bias=old.bias is not None)
    wider.to(old.weight.device)
    with torch.no_grad():
        wider.weight[: old.out_features] = old.weight
        if old.bias is not None:
            wider.bias[: old.out_features] = old.bias
    setattr(recognizer.model.head, last, wider)
    for unit in units:
        recognizer.vocabulary[unit] = len(recognizer.vocabulary)
    recognizer.model.config.vocab_size = wider.out_features
