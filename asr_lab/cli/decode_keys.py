"""`decode.*` keys among the words of commands that transcribe, as `asr-lab evaluate` takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from asr_lab.config.dotted import nest
from asr_lab.config.load import keys, parse_words, validate
from asr_lab.config.schema import Decode
from asr_lab.config.schema.base import Section

_KEY = re.compile(r"[a-z_]+(\.[a-z_]+)*=")


class Decoding(Section):
    """What commands that record no run take of a configuration."""

    decode: Decode = Decode()


def split_keys(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return `key=value` words and the others; a file that exists is one, whatever its name."""
    all_words = list(words)
    given = [word for word in all_words if _KEY.match(word) and not Path(word).exists()]
    return given, [word for word in all_words if word not in given]


def decode_settings(words: Iterable[str]) -> Decode:
    """Return the settings of `key=value` words; raise `AsrLabError` for those that are none, or without effect."""
    return validate(Decoding, nest(parse_words(words)), "the command line").decode


def decode_help() -> str:
    """Return the keys for `--help`."""
    lines = [f"  {key} [{_shown(key)}]  {text}" for key, text in keys(Decoding).items()]
    return "\n".join(["\b", "Config keys (key=value):", *lines])


def _shown(key: str) -> object:
    value = Decode.model_fields[key.removeprefix("decode.")].default
    return ",".join(map(str, value)) if isinstance(value, tuple) else value
