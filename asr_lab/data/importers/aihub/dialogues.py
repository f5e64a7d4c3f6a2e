"""Labels of whole recordings: `utterance: [{start, end, form, speaker_id}, ...]`, and who the speakers are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lhotse.cut import Cut
from lhotse.utils import fastcopy

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError

_LISTS = ("utterance", "utterances", "segments", "segment", "dialogs", "dialogue", "sentences", "발화")
_STARTS = ("start", "start_time", "startTime", "begin", "start_s")
_ENDS = ("end", "end_time", "endTime", "end_s")
_OVER_S = 0.1  # an end so far behind the recording's is rounded, not wrong
_LOCAL = re.compile(r"\d{1,2}|[A-Za-z]")


def segments(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pieces of a recording that its label lists, each with start and end; none where it is of one utterance."""
    for key, value in _walk(content):
        rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
        if key in _LISTS and rows and all(_value(row, _STARTS) is not None for row in rows):
            return rows
    return []


def outside(label: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys of a label that are not of its segments."""
    return {key: value for key, value in label.items() if not set(key.split(".")) & set(_LISTS)}


def speakers(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Id -> the fields of a speaker in a label's list of speakers."""
    for key, value in _walk(content):
        if key in ("speaker", "speakers", "화자") and isinstance(value, list):
            return {str(one["id"]): one for one in value if isinstance(one, dict) and "id" in one}
    return {}


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, the outermost first, into lists too."""
    if isinstance(content, dict):
        yield from content.items()
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _walk(inner)


def speaker_id(name: str, recording: str) -> str:
    """A speaker's id; `1` or `A` is somebody else in each recording."""
    return f"{recording}-{name}" if _LOCAL.fullmatch(name) else name


def piece(
    whole: Cut, segment: Mapping[str, Any], number: int, *, text: str, speaker: str, gender: str = "", **details: Any
) -> Cut:
    """One segment of a recording as an utterance; raises `AsrLabError` where it is not inside the recording."""
    start, end = _seconds(segment, _STARTS), _seconds(segment, _ENDS)
    if not 0 <= start < end <= whole.duration + _OVER_S:
        raise AsrLabError(
            f"a segment is not inside its recording: {start:g} to {end:g} s of {whole.duration:g} s",
            where=whole.recording.sources[0].source,
            allowed="start and end in seconds",
        )
    name, duration = f"{whole.id}-{number:04}", min(end, whole.duration) - start
    of_whole = manifest.supervision(whole)
    supervision = fastcopy(
        of_whole,
        id=name,
        start=0.0,
        duration=duration,
        text=text,
        speaker=speaker,
        gender=gender or None,
        custom={**(of_whole.custom or {}), **details},
    )
    return fastcopy(whole, id=name, start=start, duration=duration, supervisions=[supervision])


def _value(segment: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((segment[name] for name in names if segment.get(name) not in (None, "")), None)


def _seconds(segment: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """Seconds of `12.5`, `"12.5"` or `"00:00:12.5"`."""
    value = str(_value(segment, names))
    try:
        return float(sum(float(part) * 60**power for power, part in enumerate(reversed(value.split(":")))))
    except ValueError as error:
        raise AsrLabError(
            f"a segment has no {names[0]}: {value!r}", allowed="seconds, or hours:minutes:seconds"
        ) from error
