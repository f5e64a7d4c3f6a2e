"""Columns that name a piece of an audio file: its start, end or duration, and its channel."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from unicodedata import normalize

from lhotse import MonoCut
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError

Role = Literal["start", "end", "duration", "channel", "span"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOLERANCE_S = 0.1  # of times that are rounded, and at most a tenth of the file
_ROLES: dict[Role, str] = {
    "start": "offset start begin beginning beg bgn onset bos from stime starttime begintime startoffset tmin xmin tbeg "
    "tstart 시작 처음 개시",
    "end": "end ending stop finish eos to etime endtime stoptime endoffset tmax xmax tend 종료 끝 마지막",
    "duration": "duration dur durations length len 길이 재생 지속",
    "channel": "channel chan ch channelid 채널",
}
_ROLE = {word: role for role, words in _ROLES.items() for word in words.split()}
_SPANS = _words("segment segments span interval timestamp timestamps time times region 구간")
_SECONDS = {
    **dict.fromkeys(_words("s sec secs second seconds 초"), 1.0),
    **dict.fromkeys(_words("ms msec msecs millis millisecond milliseconds 밀리초"), 1e-3),
    **dict.fromkeys(_words("us usec microseconds"), 1e-6),
    **dict.fromkeys(_words("ns nanoseconds"), 1e-9),
    **dict.fromkeys(_words("min mins minute minutes 분"), 60.0),
}
_SAMPLES = _words("sample samples smp 샘플")
_FRAMES = _words("frame frames frm 프레임")
_FILLERS = _words(
    "t time timestamp at in of the audio wav file clip clips segment seg utterance utt speech sound recording position "
    "pos point total num number index idx id trim 시간 시각 시점 지점 점 위치 구간 번호 음성 발화 녹음 오디오 파일"
)
_JOINED = re.compile(
    r"(start|begin|end|stop|offset|duration|dur|length)(ms|msecs?|secs?|seconds|samples?|frames?|time)"
)
_TIME = re.compile(r"(?P<number>[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?) ?(?P<unit>[^\W\d_]*)")
_CLOCK = re.compile(r"(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+(?:[.,]\d*)?)")
_PAIRS = (("t0", "t1"), ("t1", "t2"), ("s_time", "e_time"), ("st", "ed"), ("st_time", "ed_time"), ("ts", "te"))
"""Names that are those of a start and an end only beside each other."""
_CHANNELS = {"a": 0, "l": 0, "left": 0, "b": 1, "r": 1, "right": 1}
_ALLOWED = "seconds, or a unit in the name: start_ms, duration_samples"


class Column(NamedTuple):
    """What a column means, and its unit in seconds; 0 is a sample."""

    role: Role
    unit: float


class Piece(NamedTuple):
    """A piece of a file: seconds, and the channel, None for all."""

    start: float
    end: float
    channel: int | None


@lru_cache(maxsize=4096)
def meaning(name: str) -> Column | None:
    """Return what a column of this name means, None for nothing of a piece: `start_ms`, `endTime`, `시작(초)`."""
    split = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", normalize("NFKC", name)).lower()
    words = [part for word in re.findall(r"[^\W\d_]+", split) for part in _parts(word)]
    roles = {_ROLE[word] for word in words if word in _ROLE}
    rest = [word for word in words if word not in _ROLE and word not in _FILLERS]
    units = [word for word in rest if word in _SECONDS or word in _SAMPLES or word in _FRAMES]
    if len(units) < len(rest) or len(units) > 1:
        return None
    roles -= {"start"} if len(roles) > 1 and "offset" in words else set()  # end_offset
    if not roles and any(word in ("num", "total") for word in words) and units and units[0] in _SAMPLES:
        roles = {"duration"}
    if len(roles) != 1:
        return Column("span", 1.0) if not roles and len(words) == 1 and words[0] in _SPANS else None
    unit = next((0.0 if word in _SAMPLES else _SECONDS.get(word, math.nan) for word in units), 1.0)
    return Column(roles.pop(), unit)


def _parts(word: str) -> list[str]:
    """Split `시작시간` and `startms` into known words; other words stay as they are."""
    if joined := _JOINED.fullmatch(word):
        return [*joined.groups()]
    known = sorted((one for one in {*_ROLE, *_FILLERS, *_SECONDS} if ord(one[0]) > 127), key=len, reverse=True)
    if ord(word[0]) <= 127 or not (parts := re.findall("|".join(known), word)) or "".join(parts) != word:
        return [word]
    return parts


@dataclass(frozen=True)
class PieceColumns:
    """The columns of a table that name pieces."""

    columns: Mapping[str, Column]
    starts_at_zero: bool
    """Whether a row without a start begins at 0, because other rows have one."""
    channels_from_zero: bool
    highest_channel: int
    """The highest number of a channel in any row."""

    @classmethod
    def of(cls, rows: list[Mapping[str, Any]]) -> PieceColumns:
        """Find the columns in the rows of a table."""
        columns = {str(name): column for row in rows for name in row if name and (column := meaning(str(name)))}
        columns |= {str(name): Column("span", 1.0) for row in rows for name in row if name and _is_nested(row[name])}
        by_name = {str(name).lower(): str(name) for row in rows for name in row if name}
        for pair in _PAIRS:
            if set(pair) <= set(by_name) and not {column.role for column in columns.values()} & {"start", "end"}:
                columns |= {by_name[pair[0]]: Column("start", 1.0), by_name[pair[1]]: Column("end", 1.0)}
        if len(one_sided := [name for name in columns if name.lower() in ("from", "to")]) == 1:
            del columns[one_sided[0]]
        spans = {name for name, column in columns.items() if column.role == "span"}
        columns = {
            name: column
            for name, column in columns.items()
            if name not in spans or any(_is_span(row.get(name)) for row in rows)
        }
        named = [name for name, column in columns.items() if column.role == "channel"]
        channels = {number for row in rows for name in named if (number := _number(row.get(name))) is not None}
        starts_at_zero = any(column.role == "start" for column in columns.values())
        return cls(columns, starts_at_zero, 0 in channels, max(channels, default=0))

    def piece(self, row: Mapping[str, Any], whole: Cut) -> Piece | None:
        """Return the piece of a file that a row names, None for all of it.

        Raises `AsrLabError` for values that are no times, contradict each other, or are outside the file.
        """
        rate, length = whole.recording.sampling_rate, whole.duration
        tolerance = min(_TOLERANCE_S, length / 10)
        times: dict[str, list[tuple[str, float]]] = {"start": [], "end": [], "duration": []}
        channel = None
        for name, column in self.columns.items():
            value = row.get(name)
            if value is None or (isinstance(value, str) and not value.strip()):
                continue
            if column.role == "span":
                raise AsrLabError(
                    f"a piece of the audio in one column: {name}={value!r}",
                    allowed="a column for its start, and one for its end or duration, in seconds",
                )
            if column.role == "channel":
                channel = self._channel(name, value, whole)
            else:
                times[column.role].append((name, seconds(name, value, column.unit, rate)))
        start, end, lengths = _one(times["start"]), _one(times["end"]), times["duration"]
        if start is None and (end is not None or lengths) and self.starts_at_zero:
            start = 0.0
        if end is None and lengths:
            end = (start or 0.0) + lengths[0][1]
        begin, stop = start or 0.0, length if end is None else end
        named = ", ".join(f"{name}={row[name]}" for name in self.columns if row.get(name) not in (None, ""))
        for _, duration in lengths:
            if min(abs(duration - (stop - begin)), abs(duration - length)) > tolerance:
                raise AsrLabError(f"the times contradict each other: {named}", allowed=_ALLOWED)
        if not 0 <= begin < stop or stop > length + tolerance:
            why = "starts before it" if begin < 0 else "ends before it starts" if begin >= stop else "ends after it"
            raise AsrLabError(
                f"the piece is not inside the file, it {why}: {named}, of {length:g} s",
                allowed=f"0 <= start < end <= {length:g}; {_ALLOWED}",
            )
        if start is None and length - stop > tolerance:
            raise AsrLabError(
                f"the duration is not that of the file: {named}, of {length:g} s",
                allowed="the duration of the file, or a piece of it by its start and duration",
                hint="a column offset (0 for a piece at the start of the file) makes it a piece; "
                "a column that means something else needs another name",
            )
        if channel is None and begin == 0 and length - stop <= tolerance:
            return None
        return Piece(begin, min(stop, length), channel)

    def _channel(self, name: str, value: Any, whole: Cut) -> int | None:
        """Return the channel of a file of several, None for the only one."""
        text, number = str(value).strip().lower(), whole.recording.num_channels
        counted = _number(text)
        channel = _CHANNELS.get(text, -1 if counted is None else counted)
        if number == 1 and (channel == 0 or (counted == 1 and not self.channels_from_zero)):
            return None
        if text == "mono" and number == 1:
            return None
        if counted is not None and number > 1 and not self.channels_from_zero:
            if self.highest_channel == number and channel >= 1:
                return channel - 1
            raise AsrLabError(
                f"{name} {text} of {number} may be counted from 0 or from 1",
                allowed=f"0 to {number - 1} and a 0 in any row, 1 to {number} and a {number} in any, or left and right",
            )
        if not 0 <= channel < number:
            raise AsrLabError(f"no such channel: {name}={value}, of {number}", allowed=f"0 to {number - 1}")
        return channel


def cut_piece(whole: Cut, piece: Piece) -> Cut:
    """Return a piece of an utterance of a whole file, with its fields."""
    start, duration = round(piece.start, 6), round(piece.end - piece.start, 6)
    channel = whole.channel if piece.channel is None else piece.channel
    supervision = fastcopy(manifest.supervision(whole), start=0.0, duration=duration, channel=channel)
    if piece.channel is None:
        return fastcopy(whole, start=start, duration=duration, supervisions=[supervision])
    return MonoCut(
        id=whole.id,
        start=start,
        duration=duration,
        channel=piece.channel,
        supervisions=[supervision],
        recording=whole.recording,
    )


def _number(value: Any) -> int | None:
    """Return the number of a channel, None for what is none."""
    return int(float(text)) if re.fullmatch(r"\d+(\.0+)?", text := str(value).strip()) else None


def _is_span(value: Any) -> bool:
    """Return whether a value has a start and an end: `[0.5, 1.7]`, `{"start": 0.5, "end": 1.7}`, `0.5-1.7`."""
    if isinstance(value, Mapping):
        return _is_nested(value)
    if isinstance(value, list):
        return len(value) == 2 and all(isinstance(one, int | float) for one in value)
    return isinstance(value, str) and bool(re.fullmatch(r"[\[(]?\s*[\d.:]+\s*[-~,;]\s*[\d.:]+\s*[\])]?", value.strip()))


def _is_nested(value: Any) -> bool:
    """Return whether a value is an object with a start, whatever its name: `{"start": 0.5, "end": 1.7}`."""
    return isinstance(value, Mapping) and any((c := meaning(str(key))) and c.role == "start" for key in value)


def _one(times: list[tuple[str, float]]) -> float | None:
    """Return the one time of several columns; raises `AsrLabError` if they differ."""
    if times and max(time for _, time in times) - min(time for _, time in times) > 0.002:
        raise AsrLabError("the times contradict each other: " + ", ".join(f"{name} is {s:g} s" for name, s in times))
    return times[0][1] if times else None


def seconds(name: str, value: Any, unit: float, rate: int) -> float:
    """Return a time in seconds: `0.5`, `"0,5"`, `"500 ms"`, `"00:00:12.5"`; raises `AsrLabError` if it is none."""
    text = str(value).strip().lower()
    if math.isnan(unit):
        raise AsrLabError(f"the unit of {name} is not known: {value}", allowed=_ALLOWED)
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (float((match[part] or "0").replace(",", ".")) for part in ("h", "m", "s"))
        return 3600 * hours + 60 * minutes + seconds
    match = None if isinstance(value, bool) else _TIME.fullmatch(text)
    if match is None or (match["unit"] and match["unit"] not in _SECONDS and match["unit"] not in _SAMPLES):
        raise AsrLabError(f"{name} is not a time: {value!r}", allowed=_ALLOWED)
    number = float(match["number"].replace(",", "."))
    own = match["unit"]
    scale = unit if not own else _SECONDS.get(own, 0.0)
    return number * scale if scale else number / rate
