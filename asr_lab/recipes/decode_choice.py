"""What decodes for a recogniser: the language model by its file or URI, and the weights that are registered with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_lab.config.names import model_uri
from asr_lab.config.schema import Decode
from asr_lab.decoding.arpa import Arpa
from asr_lab.decoding.beam import BeamDecoder, beam_decoder
from asr_lab.decoding.lexicon import Lexicon, Spell
from asr_lab.errors import AsrLabError, UnavailableError, listing
from asr_lab.families import family
from asr_lab.interfaces.tracking import ModelStore, is_tracked_uri
from asr_lab.models.recognizer import Recognizer

WEIGHTS = ("lm_weight", "word_score")
"""What is searched on validation data, and registered with a language model for each recogniser."""
_ARPA = ".arpa"
_REGISTERED = "models:/"


@dataclass(frozen=True)
class DecodeChoice:
    """Settings with the language model found, and with its registered weights where none were given."""

    settings: Decode
    lm_uri: str = ""
    """Pinned URI of a registered language model; else the path of its file."""
    lm_file: Path | None = None
    note: str = ""
    """On weights that were taken from the registry."""


def choose(
    settings: Decode, recognizer: Recognizer, store: ModelStore, model: str, *, tune: bool = False
) -> DecodeChoice:
    """Find the language model of `settings.lm`: a file, URI or registered name. `model`: the recogniser's pinned URI.

    Registered weights hold where neither of the two was given, and with `tune` none are taken. Raises `AsrLabError` if
    there is no such language model, or the recogniser cannot be decoded with one.
    """
    if not settings.is_beam:
        return DecodeChoice(settings)
    check_search(recognizer, "decode.lm" if settings.lm else "decode.hot_words", model)
    if not settings.lm:
        return DecodeChoice(settings)
    given = _uri(settings.lm)
    if not is_tracked_uri(given):
        return DecodeChoice(settings, given, Path(given))
    uri = store.resolve_version(given)
    chosen, note = settings.model_copy(update={"lm": given}), ""
    if not tune and not settings.model_fields_set & set(WEIGHTS):
        name = registered_name_of(model)
        weights = store.language_model_weights(uri).get(name, {}) if name else {}
        chosen = chosen.model_copy(update={key: weights[key] for key in WEIGHTS if key in weights})
        note = f"weights registered with {uri} for {name}: {weights_text(chosen)}" if weights else ""
    return DecodeChoice(chosen, uri, store.language_model_file(uri), note)


def check_words(recognizer: Recognizer, key: str, where: str = "") -> None:
    """Raise `AsrLabError` if a recogniser does not write words."""
    if family(recognizer.model_type).takes_text:
        what = f"{key} is for recognisers of words; this model is of the family {recognizer.model_type}"
        raise AsrLabError(what, where=where)


def check_search(recognizer: Recognizer, key: str, where: str = "") -> None:
    """Raise `AsrLabError` if a recogniser's output cannot be searched for words of characters or jamo."""
    check_words(recognizer, key, where)
    if recognizer.subwords:
        raise AsrLabError(
            "language models and hot words are for recognisers of characters or jamo; this model's units are bpe",
            where=key,
        )


def language_model_notes(lm: Arpa, lexicon: Lexicon, text: str) -> list[str]:
    """Return warnings on a language model for a recogniser; `text` names the recogniser's normaliser."""
    notes = []
    if lm.header and lm.header.text != text:
        notes.append(
            f"the text of the language model was normalised as {lm.header.text}, the recogniser's as {text}: "
            "asr-lab lm --model MODEL normalises as the recogniser does"
        )
    if lexicon.unspellable:
        notes.append(
            f"{len(lexicon.unspellable)} of {len(lm.words)} words of the language model cannot be written with the "
            f"recogniser's units, and are not recognised: {listing(lexicon.unspellable, 5)}"
        )
    return notes


def decoder_of(settings: Decode, lm: Path | None, recognizer: Recognizer) -> BeamDecoder:
    """Return the decoder of a recogniser; raises `AsrLabError` as `beam_decoder` does."""
    return beam_decoder(settings, lm, recognizer.units, recognizer.blank, spell_of(recognizer))


def spell_of(recognizer: Recognizer) -> Spell:
    """Return how a recogniser spells a text."""
    return lambda text: "".join(recognizer.spell(text))


def register_weights(settings: Decode, lm_uri: str, model: str, adapter: str, store: ModelStore) -> str:
    """Register tuned weights with a registered language model for a registered recogniser; return a note on it.

    It is "" where there is nothing to register with.
    """
    name = registered_name_of(model)
    if not (lm_uri.startswith(_REGISTERED) and name):
        return ""
    if adapter:
        return f"the weights are not registered with {lm_uri}: they were tuned with an adapter"
    try:
        store.register_language_model_weights(lm_uri, name, {key: getattr(settings, key) for key in WEIGHTS})
    except UnavailableError as error:
        return f"the weights are not registered with {lm_uri}: {error.what}"
    return f"registered with {lm_uri}: {name} is decoded with these weights where none are given"


def registered_name_of(model: str) -> str:
    """Return the registered name of a model's URI; "" of others."""
    return model.removeprefix(_REGISTERED).partition("/")[0].partition("@")[0] if model.startswith(_REGISTERED) else ""


def weights_text(settings: Decode) -> str:
    """Return weights as they are typed."""
    return " ".join(f"decode.{key}={getattr(settings, key):g}" for key in WEIGHTS)


def _uri(lm: str) -> str:
    """Return a file as it is, and a registered name as its URI."""
    return lm if lm.endswith(_ARPA) or Path(lm).exists() else model_uri(lm)
