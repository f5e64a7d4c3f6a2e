"""Initialise a wav2vec2 training: from scratch, from a pretrained base, or from a model trained with asr_lab."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lhotse import CutSet
from peft import PeftModel
from transformers import set_seed

from asr_lab.config.schema import Lora, Wav2Vec2Experiment, Wav2Vec2Model
from asr_lab.data import columns
from asr_lab.data.text import BLANK, TextNormalizer, split_all
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models.wav2vec2 import bases, foreign_heads, tuning
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer, load_recognizer
from asr_lab.recipes.recognition.initialization import Start, Units, new_units, with_model_settings


def start(config: Wav2Vec2Experiment, cuts: CutSet, store: ModelStore) -> Start:
    """Return a model for the transcripts of `cuts`, trainable as `model.tune` says."""
    set_seed(config.run.seed)
    begun = _begin(config, cuts, store)
    if config.train.gradient_checkpointing:  # the reentrant kind loses the gradients above a frozen part
        begun.recognizer.model.plain.activation_checkpointing_enable({"use_reentrant": False})
    return begun


def _begin(config: Wav2Vec2Experiment, cuts: CutSet, store: ModelStore) -> Start:
    base = config.model.pretrained
    if not base:
        return _from_scratch(config, cuts)
    if bases.on_hub(base):
        return _from_pretrained(config, cuts, bases.Source.of(base))
    base = store.resolve_version(base)
    source = bases.Source.of(base, store.resolve)
    if _was_trained_here(Path(source.location), base):
        return _from_trained(config, cuts, base, store)
    return _from_pretrained(config, cuts, source)


def _from_scratch(config: Wav2Vec2Experiment, cuts: CutSet) -> Start:
    """Return a new, fully trainable network of the configured sizes."""
    units = new_units(config, cuts)
    shape = bases.for_ctc(bases.tiny(config.model), len(units.vocabulary), asdict(units.normalizer))
    model = SpeechCTC(bases.from_scratch(shape))
    extractor = bases.usual_extractor(shape)
    return Start(_recognizer(model, units, extractor), config)


def _from_pretrained(config: Wav2Vec2Experiment, cuts: CutSet, source: bases.Source) -> Start:
    """Return a base of the hub or of a folder that asr_lab did not write, with a new head, or with its own (`keep`)."""
    shape, base = source.config(), source.base
    if bases.on_hub(base) and not source.revision and getattr(shape, "_commit_hash", None):
        base = f"{base}@{shape._commit_hash}"  # the same base for ever
    config = with_model_settings(config, base, bases.sizes(shape))
    keeps = config.model.head == "keep"
    units = _kept_units(config, cuts, source, shape) if keeps else new_units(config, cuts)
    blank = units.vocabulary[BLANK]
    settings = bases.for_ctc(shape, len(units.vocabulary), asdict(units.normalizer), blank=blank)
    network = source.network(settings, with_head=keeps)
    if not keeps:
        bases.draw_head(network)
    model = SpeechCTC(network)
    tuning.set_trainable(model, config.model, base)
    extractor = source.feature_extractor(shape)
    return Start(_recognizer(model, units, extractor), config, base)


def _recognizer(model: SpeechCTC, units: Units, extractor: Any) -> Wav2Vec2Recognizer:
    return Wav2Vec2Recognizer(
        model, units.vocabulary, units.normalizer, feature_extractor=extractor, subwords=units.subwords
    )


def _kept_units(config: Wav2Vec2Experiment, cuts: CutSet, source: bases.Source, shape: Any) -> Units:
    """Return the configured text normaliser and the vocabulary of the base's own head."""
    vocabulary = foreign_heads.read_head(source, shape)
    foreign_heads.check_normalizer(config.data.text, vocabulary, source.base)
    normalizer = TextNormalizer.of(config.data.text)
    texts = ["".join(units) for batch in columns.texts(cuts) for units in split_all(batch, normalizer)]
    foreign_heads.check_units(texts, vocabulary, normalizer, source.base)
    return Units(normalizer, vocabulary)


def _was_trained_here(folder: Path, base: str) -> bool:
    """Return whether a folder names its text normaliser. Raise `AsrLabError` if it holds no speech encoder."""
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AsrLabError("not a model folder: no readable config.json", where=base) from error
    if shape.get("model_type") not in bases.FAMILY:
        raise AsrLabError(
            f"the base is a {shape.get('model_type')}, not one of the wav2vec2 family",
            where=base,
            allowed=listing(bases.FAMILY),
        )
    return "text" in shape


def _from_trained(config: Wav2Vec2Experiment, cuts: CutSet, base: str, store: ModelStore) -> Start:
    """Continue a model trained with asr_lab, with `tune=lora` also its adapters, which are merged otherwise."""
    settings = config.model
    recognizer = load_recognizer(store.resolve(base), store.resolve, trainable=True)
    model, keeps_head = recognizer.model, settings.head != "new"
    has: dict[str, Any] = bases.sizes(model.config)
    continues_adapters = isinstance(model.network, PeftModel) and settings.tune == "lora"
    if continues_adapters:
        _refuse_new_head(settings, base)
        has |= _adapters_of(model)
        model.plain.freeze_feature_encoder()
    config = with_model_settings(config, base, has, recognizer if keeps_head else None)
    if not keeps_head:
        units = new_units(config, cuts)
        recognizer.normalizer, recognizer.vocabulary = units.normalizer, units.vocabulary
        recognizer.subwords = units.subwords
        recognizer.merge()
        bases.replace_head(model.plain, len(recognizer.vocabulary))
    if not continues_adapters:
        recognizer.merge()
        tuning.set_trainable(model, config.model, base)
    return Start(recognizer, config, base)


def _refuse_new_head(settings: Wav2Vec2Model, base: str) -> None:
    if settings.head == "new":
        raise AsrLabError(
            "model.head=new on a model of adapters: new adapters would have no saved base",
            where=base,
            allowed="model.head=keep, or a base that was trained with model.merged=true",
        )


def _adapters_of(model: SpeechCTC) -> dict[str, Any]:
    """Return the keys of `model` that describe its adapters."""
    adapters = model.config.adapters
    return {"lora": Lora(**adapters["lora"]), "freeze_layers": adapters["freeze_layers"]}
