"""The starting point of a training: the untrained recogniser and the resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from lhotse import CutSet

from asr_lab.config.schema import RecognitionExperiment
from asr_lab.data import columns
from asr_lab.data.subwords import Subwords
from asr_lab.data.text import TextNormalizer, build_vocabulary, characters, split_all
from asr_lab.errors import AsrLabError
from asr_lab.models.recognizer import Recognizer

E = TypeVar("E", bound=RecognitionExperiment)


@dataclass(frozen=True)
class Start:
    """The untrained or pretrained recogniser, the resolved configuration, and the URI of the base."""

    recognizer: Recognizer
    config: RecognitionExperiment
    base_uri: str = ""


@dataclass(frozen=True)
class Units:
    """The text normaliser, the vocabulary, and with `units=bpe` the subwords."""

    normalizer: TextNormalizer
    vocabulary: dict[str, int]
    subwords: Subwords | None = None


def new_units(config: RecognitionExperiment, cuts: CutSet) -> Units:
    """Return the configured text normaliser and the units of the transcripts.

    Raise `AsrLabError` if the vocabulary is too small for subwords.
    """
    normalizer = TextNormalizer.of(config.data.text)
    if normalizer.units == "bpe":
        texts = [text for batch in columns.texts(cuts) for text in normalizer.all(batch)]
        subwords = Subwords.learn(texts, config.data.text.vocab_size)
        return Units(normalizer, subwords.vocabulary(), subwords)
    units = set[str]()
    for batch in columns.texts(cuts):
        units |= characters(map(str, split_all(batch, normalizer))).keys()
    return Units(normalizer, build_vocabulary([sorted(units)]))


def with_model_settings(config: E, uri: str, model: Mapping[str, Any], recognizer: Recognizer | None = None) -> E:
    """Return the configuration with the settings of the model `uri`: these keys of `model`, and its text normaliser.

    `recognizer` is the model if its units are kept. Raise `AsrLabError` if the configuration sets other values.
    """
    text = asdict(recognizer.normalizer) if recognizer else {}
    text |= {"vocab_size": len(recognizer.vocabulary)} if recognizer and recognizer.subwords else {}
    wrong = [
        f"{prefix}.{name}={getattr(asked, name)} (it has {name}={has[name]})"
        for prefix, asked, has in (("model", config.model, model), ("data.text", config.data.text, text))
        for name in asked.model_fields_set & set(has)
        if getattr(asked, name) != has[name]
    ]
    if wrong:
        raise AsrLabError(
            f"these keys differ from the pretrained model: {', '.join(wrong)}",
            where=uri,
            hint="leave these keys out: fine-tuning uses those of the model",
        )
    section = config.model.model_copy(update={**model, "pretrained": uri})
    data = config.data.model_copy(update={"text": config.data.text.model_copy(update=text)})
    return config.model_copy(update={"model": section, "data": data})
