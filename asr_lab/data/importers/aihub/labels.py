"""Look up values in a JSON label, or a row of a table, of an AI-Hub corpus by field.

The corpora use different keys. Free conversation of children (자유대화 음성) has `발화정보.stt`,
`녹음자정보.recorderId / age / gender`; read speech and commands have
`전사정보.TransLabelText`, `화자정보.SpeakerName / Age / Gender`, `기본정보.NumberOfSpeaker` and
`음성정보.SignalToNoiseRatio`; others have plain English keys. Dialects have `form` (or both in `(spoken)/(standard)`),
`dialect_form`, and `standard_form`, its translation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

from asr_lab.data.importers.speaker_fields import is_unknown, says_no_text
from asr_lab.data.importers.speaker_options import WAYS
from asr_lab.data.text_files import read_text
from asr_lab.errors import AsrLabError, listing, nearest

NAMES: dict[str, tuple[str, ...]] = {
    "text": (
        "dialect_form", "stt", "TransLabelText", "RefinedLabelText", "OrgLabelText", "LabelText", "transcription",
        "transcript", "text",
        "sentence", "script", "AnswerLabelText", "전사", "전사텍스트", "tr", "origin_text",
    ),
    "speaker": (
        "recorderId", "speaker_id", "speakerId", "SpeakerName", "spk_id", "speaker", "spk", "화자ID", "화자",
        "participant_id", "child_id", "recorder.id", "speaker.id", "child.id", "녹음자정보.id", "화자정보.id",
        "reciter.id",
    ),
    "speaker_number": ("NumberOfSpeaker",),
    "form": ("form", "original_form"),
    "age": ("age", "speaker_age", "연령", "나이", "birth_age"),
    "gender": ("gender", "sex", "speaker_gender", "성별"),
    "snr_db": ("snr_db", "snr", "SignalToNoiseRatio", "wada_snr", "estimated_snr"),
    "audio": ("fileNm", "FileName", "file_name", "filename", "wav_path", "wav", "audio_path", "audio"),
    "file": (
        "fileNm", "FileName", "file_name", "filename", "wav_path", "wav", "audio_path", "audio", "path", "file",
        "file_id", "utterance_id", "utt_id", "id",
    ),
    "split": ("split", "set", "subset", "partition", "구분"),
}  # fmt: skip
"""Field -> its keys, most reliable first: last parts of dotted keys; case, `_` and spaces are ignored."""

FIELDS = ("text", "speaker", "age", "gender", "snr_db")
"""Fields whose key the user can name."""

_MOST_KEYS = 100


def read_label(path: Path) -> dict[str, Any]:
    """Read a label as a JSON object, in UTF-8 or cp949; a list of several is its `utterance`.

    Raises `AsrLabError` if it is none.
    """
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise AsrLabError(f"the label is not JSON: {error}", where=str(path)) from error
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        return dict(content[0]) if len(content) == 1 else {"utterance": content}
    if not isinstance(content, dict):
        raise AsrLabError("the label is not a JSON object, or a list of them", where=str(path))
    return content


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten an object to dotted keys, `{"발화정보.stt": ...}`; a list of one object is treated as that object."""
    return dict(_flat(content))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            value = value[0]
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Keys:
    """The keys that a user named for fields; raises `AsrLabError` for an unknown field."""

    def __init__(self, named: Mapping[str, str]) -> None:
        unknown = [field for field in named if field not in FIELDS]
        if unknown:
            close = [name for name in (nearest(field, FIELDS) for field in unknown) if name]
            raise AsrLabError(
                f"--keys has no field {listing(unknown)}",
                allowed=listing(FIELDS),
                hint=f"did you mean {listing(close)}?" if close else "",
            )
        self.named = dict(named)
        self._met: set[str] = set()
        self._keys: dict[str, None] = {}

    def value(self, row: Mapping[str, Any], field: str) -> Any:
        """Return the value of the key named for a field: a complete dotted key, or its last parts."""
        named = self.named[field]
        ends = [key for key in row if key == named or _end(key, named) == named]
        if len(ends) > 1 and named not in row:
            raise AsrLabError(f"--keys {field}={named} may be several keys", allowed=listing(ends))
        if ends:
            self._met.add(field)
        elif len(self._keys) < _MOST_KEYS:
            self._keys.update(dict.fromkeys(row))
        return row[named if named in row else ends[0]] if ends else None

    def check_met(self) -> None:
        """Raise `AsrLabError` if a named key is in no label."""
        unmet = [f"{field}={key}" for field, key in self.named.items() if field not in self._met]
        if unmet and self._keys:
            raise AsrLabError(
                f"no label has the key of --keys {listing(unmet)}", allowed=f"keys found: {listing(self._keys, 30)}"
            )


def value_of(row: Mapping[str, Any], field: str, keys: Keys | None = None) -> str:
    """Return the value of a field in a label or row as text, or "".

    `keys` replaces the keys of `NAMES` for some fields.
    """
    if keys and field in keys.named:
        return _as_text(keys.value(row, field), field)
    return next(values_of(row, field), "")


def values_of(row: Mapping[str, Any], field: str) -> Iterator[str]:
    """Yield the values of a field in a label or row, most reliable first."""
    for name in NAMES[field]:
        for key, value in row.items():
            if _same(_end(key, name), name) and (text := _as_text(value, field)):
                yield text


@lru_cache(maxsize=4096)
def _end(key: str, name: str) -> str:
    """Return the last parts of a dotted key, as many as the name has."""
    return ".".join(key.split(".")[-1 - name.count(".") :])


def _same(one: str, other: str) -> bool:
    return _bare(one) == _bare(other)


@lru_cache(maxsize=4096)
def _bare(key: str) -> str:
    return re.sub(r"[\s_-]", "", normalize("NFC", key)).lower()


def _as_text(value: Any, field: str) -> str:
    """Return a value as text, "" if it means unknown; but 없음 (nothing) may be a transcript."""
    text = "" if isinstance(value, list | dict) or value is None else str(value).strip()
    return "" if (says_no_text if field == "text" else is_unknown)(text) else text


def dialect_forms(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return (the spoken form of dialect, its translation); "" for those that a label has not.

    `dialect` and `standard` count only beside each other, because other fields have these names too.
    """
    forms = {(key.rpartition(".")[0], _bare(key.rpartition(".")[2])): _as_text(row[key], "text") for key in row}
    for (parent, name), spoken in forms.items():
        if name == "dialectform" or (name == "dialect" and (parent, "standard") in forms):
            return spoken, forms.get((parent, name.replace("dialect", "standard")), "")
    return "", next((text for (_, name), text in forms.items() if name == "standardform"), "")


def lacking(field: str, row: Mapping[str, Any], where: Path, keys: Keys | None = None) -> AsrLabError:
    """Return the error for a label with a missing or empty field."""
    names = (keys.named[field],) if keys and field in keys.named else NAMES[field]
    empty = [key for key in row if any(_same(_end(key, name), name) for name in names)]
    if empty:
        return AsrLabError(f"the {field} is empty: {listing(empty, 3)}", where=str(where))
    return AsrLabError(
        f"no {field} in the label",
        where=str(where),
        allowed=f"one of the keys {listing(names, 20)}; found: {listing(row, 30)}",
        hint=f"--keys {field}=KEY names another" + (f"; {WAYS}" if field == "speaker" else ""),
    )
