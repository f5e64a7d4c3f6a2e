"""The starting point of a training: the untrained recogniser and the resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from lhotse import CutSet

from asr_lab.config.schema import RecognitionExperiment
from asr_lab.data import manifest
from asr_lab.data.text import TextNormalizer, build_vocabulary, split_units
from asr_lab.errors import AsrLabError
from asr_lab.models.recognizer import Recognizer

E = TypeVar("E", bound=RecognitionExperiment)


@dataclass(frozen=True)
class Start:
    """The untrained or pretrained recogniser, the resolved configuration, and the URI of the base."""

    recognizer: Recognizer
    config: RecognitionExperiment
    base_uri: str = ""


def units_of(cuts: CutSet, normalizer: TextNormalizer) -> list[str]:
    """Return the normalised transcripts as vocabulary units."""
    return [split_units(normalizer(manifest.text(cut)), normalizer) for cut in cuts]


def new_vocabulary(config: RecognitionExperiment, cuts: CutSet) -> tuple[TextNormalizer, dict[str, int]]:
    """Return the configured text normaliser and the vocabulary of the transcripts."""
    normalizer = TextNormalizer.of(config.data.text)
    return normalizer, build_vocabulary(units_of(cuts, normalizer))


def with_model_settings(config: E, uri: str, model: Mapping[str, Any], normalizer: TextNormalizer | None = None) -> E:
    """Return the configuration with the settings of the model `uri`: these keys of `model`, and its text normaliser.

    Raise `AsrLabError` if the configuration sets other values.
    """
    text = asdict(normalizer) if normalizer else {}
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
