"""Initialise a DeepSpeech2 training: from scratch, or from a trained model."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain

import torch
from lhotse import CutSet
from torch import nn
from transformers import set_seed

from asr_lab.config.schema import DeepSpeech2Experiment
from asr_lab.data import columns
from asr_lab.data.text import outside
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models import load_model
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.recognition.initialization import Start, new_units, with_model_settings

_OWN = {"pretrained", "extend_vocabulary"}  # keys of `model` that are not of the network
_NORMALIZE = "normalize"  # of the network's input: a model can be fine-tuned to another


def start(config: DeepSpeech2Experiment, cuts: CutSet, store: ModelStore) -> Start:
    """Return a new model, or the one under `model.pretrained`, for the transcripts of `cuts`."""
    if config.model.pretrained:
        return fine_tune(config, cuts, store)
    if config.model.extend_vocabulary:
        raise AsrLabError("model.extend_vocabulary has no effect from scratch", allowed="with model.pretrained alone")
    return from_scratch(config, cuts)


def from_scratch(config: DeepSpeech2Experiment, cuts: CutSet) -> Start:
    """Return a new model with the vocabulary of the transcripts of `cuts`."""
    units = new_units(config, cuts)
    set_seed(config.run.seed)
    sizes = config.model.model_dump(exclude=_OWN)
    shape = DeepSpeech2Config(vocab_size=len(units.vocabulary), text=asdict(units.normalizer), **sizes)
    model = DeepSpeech2ForCTC(shape)
    return Start(DeepSpeech2Recognizer(model, units.vocabulary, units.normalizer, subwords=units.subwords), config)


def fine_tune(config: DeepSpeech2Experiment, cuts: CutSet, store: ModelStore) -> Start:
    """Return the trainable model under `model.pretrained` with its vocabulary and text normaliser.

    Raise `AsrLabError` if it is not a DeepSpeech2, or if the configuration sets other sizes or text settings.
    """
    uri = store.resolve_version(config.model.pretrained)
    recognizer = load_model(store.resolve(uri), store.resolve)
    if not isinstance(recognizer, DeepSpeech2Recognizer):
        raise AsrLabError(f"the pretrained model is a {recognizer.model_type}, not a deepspeech2", where=uri)
    recognizer.model.unfreeze_base_model()
    shape = recognizer.model.config
    if _NORMALIZE in config.model.model_fields_set:
        shape.normalize = config.model.normalize
    sizes = {name: getattr(shape, name) for name in type(config.model).model_fields if name not in _OWN}
    config = with_model_settings(config, uri, sizes, recognizer)
    set_seed(config.run.seed)
    if config.model.extend_vocabulary:
        spelled = chain.from_iterable(map(recognizer.spell_all, columns.texts(cuts)))
        new = outside(spelled, recognizer.vocabulary)
        extend_vocabulary(recognizer, sorted(new))
    return Start(recognizer, config, uri)


def extend_vocabulary(recognizer: DeepSpeech2Recognizer, units: list[str]) -> None:
    """Add an output class for each unit; the weights of existing classes are unchanged."""
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
