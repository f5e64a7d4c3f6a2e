"""What a JSON label or a row of a table of an AI-Hub corpus says, whatever its keys are called.

The corpora name the same things differently. Free conversation of children (자유대화 음성) has `발화정보.stt`,
`녹음자정보.recorderId / age / gender`; read speech and commands have
`전사정보.TransLabelText`, `화자정보.SpeakerName / Age / Gender`, `기본정보.NumberOfSpeaker` and
`음성정보.SignalToNoiseRatio`; others have plain English keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asr_lab.errors import AsrLabError, listing

NAMES: dict[str, tuple[str, ...]] = {
    "text": (
        "stt", "TransLabelText", "RefinedLabelText", "OrgLabelText", "LabelText", "transcription", "transcript", "text",
        "sentence", "script", "AnswerLabelText", "전사", "전사텍스트", "standard_form",
    ),
    "speaker": (
        "recorderId", "speaker_id", "speakerId", "SpeakerName", "NumberOfSpeaker", "spk_id", "speaker", "spk", "화자ID",
        "화자", "participant_id", "child_id",
    ),
    "age": ("age", "speaker_age", "연령", "나이", "birth_age"),
    "gender": ("gender", "sex", "speaker_gender", "성별"),
    "snr_db": ("snr_db", "snr", "SignalToNoiseRatio", "wada_snr", "estimated_snr"),
    "file": (
        "fileNm", "FileName", "file_name", "filename", "wav_path", "wav", "audio_path", "audio", "path", "file",
        "file_id", "utterance_id", "utt_id", "id",
    ),
    "split": ("split", "set", "subset", "partition", "구분"),
}  # fmt: skip
"""Field -> the keys it goes by, the surest first; case, `_` and spaces do not matter."""

_NOTHING = ("", "n/a", "na", "nan", "none", "null", "unknown", "notprovided", "notprovidied", "-")
_GENDERS = {
    **dict.fromkeys(("m", "male", "man", "boy", "남", "남자", "남성", "남아"), "male"),
    **dict.fromkeys(("f", "female", "woman", "girl", "여", "여자", "여성", "여아"), "female"),
}


def read_label(path: Path) -> dict[str, Any]:
    """The label as dotted keys, `{"발화정보.stt": ...}`; raises `AsrLabError` where it is not a JSON object."""
    raw = path.read_bytes()
    try:
        try:
            content = json.loads(raw.decode("utf-8-sig"))
        except UnicodeDecodeError:
            content = json.loads(raw.decode("cp949"))
    except ValueError as error:
        raise AsrLabError(f"the label is not JSON: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise AsrLabError("the label is not a JSON object", where=str(path))
    return dict(_flat(content))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            value = value[0]
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def found(row: Mapping[str, Any], field: str, keys: Mapping[str, str] | None = None) -> str:
    """What a label or row says of a field, as text; "" where it says nothing.

    `keys` names, by field, the key to take instead of those of `NAMES`.
    """
    if keys and field in keys:
        return _said(row.get(keys[field]))
    for name in NAMES[field]:
        for key, value in row.items():
            if _same(key.rpartition(".")[2], name) and (text := _said(value)):
                return text
    return ""


def _same(one: str, other: str) -> bool:
    return re.sub(r"[\s_-]", "", one).lower() == re.sub(r"[\s_-]", "", other).lower()


def _said(value: Any) -> str:
    text = "" if isinstance(value, list | dict) or value is None else str(value).strip()
    return "" if text.lower() in _NOTHING else text


def age_of(text: str) -> dict[str, Any]:
    """`age` in years of `7`, `7세`, `만 7세`; of a span such as `10~19` or `20대` only `age_range`."""
    numbers = re.findall(r"\d+(?:\.\d+)?", text)
    if len(numbers) == 1 and "대" not in text:
        return {"age": float(numbers[0]) if "." in numbers[0] else int(numbers[0])}
    return {"age_range": text} if text else {}


def gender_of(text: str) -> str:
    """`male`, `female`, or "" where it is neither."""
    return _GENDERS.get(text.lower(), "")


def snr_of(text: str) -> dict[str, float]:
    """`snr_db` of `12.5` or `12.5 dB`; nothing of other texts."""
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*(?:dB)?", text, flags=re.IGNORECASE)
    return {"snr_db": float(match[1])} if match else {}


def lacking(field: str, row: Mapping[str, Any], where: Path) -> AsrLabError:
    """The message for a label in which a field was not found."""
    return AsrLabError(
        f"no {field} in the label",
        where=str(where),
        allowed=f"one of the keys {listing(NAMES[field], 20)}; found: {listing(row, 30)}",
        hint=f"--keys {field}=KEY names another, such as --keys {field}={next(iter(row), 'KEY')}",
    )
