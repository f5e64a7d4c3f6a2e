"""Continue CTC heads that others trained, such as those of transformers' `run_speech_recognition_ctc.py`.

That script has `vocab_size=len(tokenizer)`: the units of `vocab.json`, then the added tokens `<s>` and `</s>`; `[PAD]`
is the blank, `[UNK]` the unknown unit. The folder does not say how its transcripts were normalised.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from transformers import Wav2Vec2CTCTokenizer

from asr_lab.config.schema import Text
from asr_lab.data.text import BLANK, SPACE, UNKNOWN, TextNormalizer, outside
from asr_lab.errors import AsrLabError, listing
from asr_lab.models.wav2vec2.bases import Source

_REQUIRED = ("lowercase", "strip_punctuation", "units")
_MOST_OUTSIDE = 0.5  # of the characters of the training data


def read_head(source: Source, shape: Any) -> dict[str, int]:
    """Return unit -> class of a base's head, with the blank, unknown unit and word boundary as asr_lab names them.

    Raise `AsrLabError` if there is no such vocabulary, or it does not match the head.
    """
    try:
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(source.location, revision=source.revision)
        vocabulary = dict(tokenizer.get_vocab())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AsrLabError(
            f"the base has no vocabulary of a CTC head: {str(error).splitlines()[0][:120]}",
            where=source.base,
            allowed="a folder with vocab.json and tokenizer_config.json, or model.head=new",
        ) from error
    if not all(isinstance(index, int) for index in vocabulary.values()):
        raise AsrLabError(
            "the base has a vocabulary for each language",
            where=source.base,
            allowed="one vocabulary, or model.head=new",
        )
    if sorted(vocabulary.values()) != list(range(shape.vocab_size)):
        raise AsrLabError(
            f"the vocabulary does not match the head: {len(vocabulary)} units, {shape.vocab_size} classes",
            where=source.base,
            allowed="the files of the tokenizer that the model was trained with, or model.head=new",
        )
    if vocabulary.get(str(tokenizer.pad_token)) != shape.pad_token_id:
        raise AsrLabError(
            f"the blank is not clear: pad_token {tokenizer.pad_token} is class {vocabulary.get(tokenizer.pad_token)}, "
            f"and pad_token_id of config.json {shape.pad_token_id}",
            where=source.base,
            allowed="the same, or model.head=new",
        )
    named = {str(tokenizer.pad_token): BLANK, str(tokenizer.unk_token): UNKNOWN}
    named |= {str(tokenizer.word_delimiter_token): SPACE}
    return {named.get(str(unit), str(unit)): index for unit, index in vocabulary.items()}


def check_normalizer(asked: Text, vocabulary: Mapping[str, int], base: str) -> None:
    """Raise `AsrLabError` if keys of the text normaliser are not set, with what the vocabulary looks like."""
    unset = [key for key in _REQUIRED if key not in asked.model_fields_set]
    if not unset:
        return
    looks = _looks_like(vocabulary)
    raise AsrLabError(
        "model.head=keep needs the text normaliser that the base was trained with, which its folder does not name",
        where=base,
        allowed=", ".join(f"data.text.{key}" for key in unset),
        hint="its vocabulary looks like " + " ".join(f"data.text.{key}={looks[key]}" for key in unset),
    )


def check_units(texts: Iterable[str], vocabulary: Mapping[str, int], normalizer: TextNormalizer, base: str) -> None:
    """Raise `AsrLabError` if most characters of the normalised training transcripts are not in the vocabulary."""
    rows = list(texts)
    unknown = outside(rows, dict(vocabulary))
    total = sum(len(text.replace(" ", "")) for text in rows)
    if unknown.total() <= _MOST_OUTSIDE * total:
        return
    share = f"{unknown.total() / total:.0%}"
    most = listing((character for character, _ in unknown.most_common(8)), 8)
    raise AsrLabError(
        f"{share} of the characters of the training data are not in the base's vocabulary: {most}",
        where=base,
        allowed="a text normaliser (data.text) that makes the vocabulary's characters, or model.head=new",
        hint=f"the vocabulary has {listing(sorted(vocabulary), 12)}; the text is {normalizer.name}, {normalizer.units}",
    )


def _looks_like(vocabulary: Mapping[str, int]) -> dict[str, str]:
    """Return the keys of the text normaliser by the characters of a vocabulary."""
    units = [unit for unit in vocabulary if len(unit) == 1 and unit != SPACE]
    has_capitals = any(unit != unit.lower() for unit in units)
    has_signs = any(unicodedata.category(unit)[0] in "PS" and unit != "'" for unit in units)
    is_jamo = any("\u1100" <= unit <= "\u11ff" for unit in units)
    return {
        "lowercase": str(not has_capitals).lower(),
        "strip_punctuation": str(not has_signs).lower(),
        "units": "jamo" if is_jamo else "characters",
    }
