"""Propose columns or keys for fields by their names and values, and check those that a user names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any
from unicodedata import normalize

from asr_lab.data.importers.speaker_fields import says_no_text
from asr_lab.errors import AsrLabError

_NAMES = {
    "audio": "audio file path wav clip filename filepath 파일 음성 오디오 녹음 경로",
    "text": "text txt sentence transcript transcription transcribed stt script prompt words label 전사 문장 텍스트 "
    "내용 대사 대본 스크립트 본문 자막 받아쓰기 원문 문구 라벨 정답",
    "speaker": "speaker spk client reader recorder person participant subject child user 화자 녹음자 아동 발화자 "
    "참여자 피험자 대상자 환자 성우 낭독자 이름 성명",
}
_DETAILS = {"gender": "gender sex 성별", "age": "age speaker_age 나이 연령 연령대"}
_OTHER = re.compile(
    r"age|gender|sex|region|dialect|accent|job|count|num|number|.*(?:나이|성별|연령|연령대|지역|직업|방언|학년|국적|수)"
)
_IDS = re.compile(r"id|name|code|key|no|아이디|이름|번호")
_NUMBER = re.compile(r"[+-]?[\d.,:]+")
_AUDIO = re.compile(r"\.(wav|flac|mp3|ogg|opus|m4a|pcm|sph|aac|raw|aiff?|wv)$", re.IGNORECASE)
_MOST_ROWS = 2000
_SPELLED_ALIKE = 0.75  # of the letters
_MOST_WORDS = 4  # of a speaker's name


def proposed(rows: Sequence[Mapping[str, Any]], fields: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return field -> the column that has a name and values like it, for those of `fields` that have exactly one."""
    return {field: columns[0] for field, columns in candidates(rows, fields, taken).items() if len(columns) == 1}


def candidates(
    rows: Sequence[Mapping[str, Any]], fields: Iterable[str], taken: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Return field -> the columns that have a name and values like it, for those of `fields` that have any.

    A column that is called as the field usually is takes precedence over one whose name has more words, and columns
    that say the same count as the first of them.
    """
    sample = rows[:_MOST_ROWS]
    columns = [name for name in dict.fromkeys(str(name) for row in sample for name in row) if name not in set(taken)]
    texts_of = {name: ["" if row.get(name) is None else str(row[name]).strip() for row in sample] for name in columns}
    values = {name: [text for text in texts if not says_no_text(text)] for name, texts in texts_of.items()}
    found: dict[str, list[str]] = {}
    for field in fields:
        free = [name for name in columns if not any(name in names for names in found.values())]
        alike = [name for name in free if _fits(field, values[name], len(sample))]
        named = [name for name in alike if _is_named(name, field) and not set(",=") & set(name)]
        if field == "speaker":
            texts = {str(row.get(name)).strip() for row in sample for name in found.get("text", ["text"])}
            named = [name for name in named if not set(values[name]) <= texts]
        usual = [name for name in named if normalize("NFC", name).strip().lower() in _NAMES.get(field, field).split()]
        if best := usual or named or (alike if field == "audio" else []):
            found[field] = _of_other_values(best, sample, only_groups=field == "speaker")
    return found


def _of_other_values(names: Sequence[str], rows: Sequence[Mapping[str, Any]], *, only_groups: bool) -> list[str]:
    """Return the columns without those that say what an earlier one says; of speakers, who is the same."""
    kept: dict[tuple[Any, ...], str] = {}
    for name in names:
        values = [str(row.get(name) or "").strip() for row in rows]
        first = {value: place for place, value in reversed(list(enumerate(values)))}
        kept.setdefault(tuple(first[value] for value in values) if only_groups else tuple(values), name)
    return list(kept.values())


def other_names(columns: Iterable[str]) -> str:
    """Return the option that reads columns with ages and genders under other names: `gender=성별,age=나이`."""
    fields = other_fields(columns)
    return quoted(",".join(f"{field}={name}" for field, name in fields.items())) if fields else ""


def other_fields(columns: Iterable[str]) -> dict[str, str]:
    """Return field -> column, of ages and genders that have other names than their field."""
    bare = {normalize("NFC", name).strip().lower(): name for name in columns}
    fields = {field: bare[name] for field, names in _DETAILS.items() for name in names.split() if name in bare}
    return {field: name for field, name in fields.items() if field not in bare}


def _is_named(column: str, field: str) -> bool:
    """Return whether a column, or the last part of a dotted key, has a name like that of a field."""
    split = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", normalize("NFC", column)).lower()
    *outer, own = (re.findall(r"[^\W\d_]+", part) for part in split.split("."))
    if any(_OTHER.fullmatch(word) for word in own):
        return False
    words = own + [word for part in outer for word in part if all(map(_IDS.fullmatch, own))]
    known = _NAMES.get(field, field).split()
    alike = any(word in known or any(ord(one[0]) > 127 and one in word for one in known) for word in words)
    return alike or bool(get_close_matches(field, ["_".join(own)], cutoff=_SPELLED_ALIKE))


def _fits(field: str, values: Sequence[str], rows: int) -> bool:
    if not values:
        return False
    are_files = all(_AUDIO.search(value) for value in values[:50])
    if field == "audio":
        return are_files
    if field == "speaker":
        return not are_files and not any(map(_is_sentence, values)) and (rows < 2 or len(set(values)) < len(values))
    if field == "text":
        return not are_files and not all(_NUMBER.fullmatch(value) or PurePath(value).is_absolute() for value in values)
    return True


def _is_sentence(value: str) -> bool:
    return len(value.split()) > _MOST_WORDS or bool(re.search(r"[.?!…。？！]$", value))


def quoted(argument: str) -> str:
    """Quote an argument of a command where a shell needs it; letters of any language need none."""
    return argument if re.fullmatch(r"[\w@%+=:,./-]+", argument) else shlex.quote(argument)


def audio_folder(folder: Path, name: str) -> Path | None:
    """Return the folder within `folder` that a path starts from, None if there is none within two levels."""
    candidates = (folder, *(one for pattern in ("*/", "*/*/") for one in sorted(folder.glob(pattern))))
    return next((one for one in candidates if (one / name).is_file()), None)


def check_speakers(named: str, speakers: Sequence[str], texts: Sequence[str]) -> None:
    """Raise `AsrLabError` if the values named as speakers are transcripts, or another one in every utterance."""
    distinct, total = len(set(speakers)), len(speakers)
    if not total:
        return
    same = sum(speaker.strip() == text.strip() for speaker, text in zip(speakers, texts, strict=True))
    if same > total / 2:
        why = "they are the transcripts"
    elif total > 1 and distinct == total:
        why = f"{distinct} different ones in {total} utterances, so that each would be a speaker"
    else:
        return
    raise AsrLabError(
        f"{named} are no speakers: {why}, such as {speakers[0][:60]!r}",
        allowed="a key whose value is the same in all utterances of a speaker",
        hint="where every utterance really has a speaker of its own, name the column speaker (csv, jsonl)",
    )
