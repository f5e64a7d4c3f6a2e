"""Labels of recordings with several utterances: `utterance: [{start, end, form, speaker_id}, ...]`, and speakers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lhotse.cut import Cut
from lhotse.utils import fastcopy

from asr_lab.data import manifest
from asr_lab.data.importers.pieces import Piece, cut_piece, meaning, seconds
from asr_lab.errors import AsrLabError

_LISTS = ("utterance", "utterances", "segments", "segment", "dialogs", "dialogue", "sentences", "발화")
_STARTS = ("start", "start_time", "startTime", "begin", "start_s")
_ENDS = ("end", "end_time", "endTime", "end_s")
_MS = 1e-3
_MOST_COLONS = 2  # hours:minutes:seconds
_OVER_S = 0.1  # tolerance for segments that end after the recording
_LOCAL = re.compile(r"\d{1,2}|[A-Za-z]")


def segments(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the segments listed in the label of a recording; [] if it is one utterance."""
    for key, value in _walk(content):
        rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
        if key in _LISTS and rows and all(_value(row, _STARTS) is not None for row in rows):
            return rows
    return []


def outside(label: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted keys of a label outside its segments."""
    return {key: value for key, value in label.items() if not set(key.split(".")) & set(_LISTS)}


def speakers(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return speaker id -> fields, from the list of speakers in a label."""
    for key, value in _walk(content):
        if key in ("speaker", "speakers", "화자") and isinstance(value, list):
            return {str(one["id"]): one for one in value if isinstance(one, dict) and "id" in one}
    return {}


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value, outermost first, also within lists."""
    if isinstance(content, dict):
        yield from content.items()
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _walk(inner)


def speaker_id(name: str, recording: str) -> str:
    """Return the id of a speaker; local names such as `1` or `A` get the recording as a prefix."""
    return f"{recording}-{name}" if _LOCAL.fullmatch(name) else name


def segment_cut(
    recording_cut: Cut,
    segment: Mapping[str, Any],
    number: int,
    *,
    text: str,
    speaker: str,
    gender: str = "",
    unit: float = 1.0,
    **details: Any,
) -> Cut:
    """Return a segment of a recording as an utterance; raises `AsrLabError` if it is not inside the recording.

    `unit` is that of the times, in seconds.
    """
    start, end = unit * _seconds(segment, _STARTS), unit * _seconds(segment, _ENDS)
    if not 0 <= start < end <= recording_cut.duration + _OVER_S:
        raise AsrLabError(
            f"a segment is not inside its recording: {start:g} to {end:g} s of {recording_cut.duration:g} s",
            where=recording_cut.recording.sources[0].source,
            allowed="start and end in seconds",
        )
    name, duration = f"{recording_cut.id}-{number:04}", min(end, recording_cut.duration) - start
    recording_supervision = manifest.supervision(recording_cut)
    supervision = fastcopy(
        recording_supervision,
        id=name,
        start=0.0,
        duration=duration,
        text=text,
        speaker=speaker,
        gender=gender or None,
        custom={**(recording_supervision.custom or {}), **details},
    )
    return fastcopy(recording_cut, id=name, start=start, duration=duration, supervisions=[supervision])


def unit_of(segments: Sequence[Mapping[str, Any]], duration: float) -> float:
    """Return the unit, in seconds, of the times of the segments: 0.001 if only so they are inside their recording."""
    if any(":" in str(_value(segment, _ENDS)) for segment in segments):
        return 1.0
    try:
        last = max(_seconds(segment, _ENDS) for segment in segments)
    except AsrLabError:  # a fault of a segment
        return 1.0
    return _MS if duration / 10 < _MS * last <= duration + _OVER_S and last > duration + _OVER_S else 1.0


def piece_of(label: Mapping[str, Any], whole: Cut) -> tuple[Cut, bool]:
    """Return (the piece of a recording that the label of one utterance names, whether its times are not understood).

    A start and an end inside the recording name a piece of it, and one as long as the recording may be the place in a
    longer one that it was cut from.
    """
    times = [(column, str(value)) for key, value in label.items() if (column := meaning(key.rpartition(".")[2]))]
    starts, ends = ([one for one in times if one[0].role == role] for role in ("start", "end"))
    if not starts or not ends:
        return whole, False
    try:
        ((unit, start_text),), ((end_unit, end_text),) = starts, ends
        rate = whole.recording.sampling_rate
        start, end = (
            seconds(column.role, text, column.unit, rate) for column, text in ((unit, start_text), (end_unit, end_text))
        )
    except (ValueError, AsrLabError):  # several starts, or no times
        return whole, True
    if abs(end - start - whole.duration) <= _OVER_S:
        return whole, False
    if not 0 <= start < end <= whole.duration + _OVER_S:
        return whole, True
    return cut_piece(whole, Piece(start, min(end, whole.duration), None)), False


def _value(segment: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((segment[name] for name in names if segment.get(name) not in (None, "")), None)


def _seconds(segment: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """Parse `12.5`, `"12.5"` or `"00:00:12.5"` as seconds."""
    value = str(_value(segment, names))
    try:
        if value.count(":") > _MOST_COLONS:  # 00:00:01:500 has frames, or milliseconds
            raise ValueError(value)
        return float(sum(float(part) * 60**power for power, part in enumerate(reversed(value.split(":")))))
    except ValueError as error:
        raise AsrLabError(
            f"a segment has no {names[0]}: {value!r}", allowed="seconds, or hours:minutes:seconds"
        ) from error
