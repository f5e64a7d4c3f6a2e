"""Times that people read and type: local time (`TZ`) with its offset from UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from asr_lab.errors import AsrLabError

_SECONDS = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600,
    "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800,
}  # fmt: skip
_PART = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]+)", re.IGNORECASE)
_DAYS = {"today": 0, "yesterday": 1}
_LONGEST_S = 100 * 365 * 86_400
_ALLOWED = "an age such as 7d, 12h or 2 weeks, yesterday, or a time such as 2026-11-01 or 2026-11-01 14:30:00+09:00"


def local_time(ms: float, sep: str = " ") -> str:
    """Return ms since 1970 as `2026-11-01 14:30:00+09:00`; `sep="T"` makes it ISO 8601 to the letter."""
    return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(sep, "seconds")


def utc_now() -> str:
    """Return the time as `2026-11-01T05:30:00+00:00`, for records."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse_time(text: str, now: float | None = None) -> int:
    """Parse an age (`7d`, `2 weeks`, `3 h ago`), a day (`today`, `yesterday`) or a date to ms since 1970.

    A date may have a time. Ages are counted back from `now` (seconds since 1970) in hours of 60 minutes, whatever
    clocks are changed meanwhile. A time without offset is local; of a local time that there is twice, the first is
    meant. Raises `AsrLabError`.
    """
    age, now = _age(text), time.time() if now is None else now
    if age is not None:
        return int((now - age) * 1000)
    if text.strip().lower() in _DAYS:  # from midnight
        day = datetime.fromtimestamp(now).date() - timedelta(days=_DAYS[text.strip().lower()])
        return int(datetime.combine(day, datetime.min.time()).timestamp() * 1000)
    try:
        when = datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d\d:?\d\d$)", "", text.strip())).timestamp()
    except (ValueError, OverflowError, OSError):
        when = -1
    if when < 0:
        raise AsrLabError(f"not an age or a date: {text!r}", allowed=f"{_ALLOWED}, since 1970")
    return int(when * 1000)


def parse_days(text: str) -> float:
    """Parse how many days ago something was: a number of days, or what `parse_time` takes; raises `AsrLabError`."""
    number = re.fullmatch(r"\d{1,15}(\.\d{1,15})?", text.strip())
    days = (time.time() - parse_time(f"{text.strip()} d" if number else text) / 1000) / 86_400
    if days < -1e-6:
        raise AsrLabError(f"{text!r} is yet to come", allowed=f"a number of days, {_ALLOWED}")
    return float(text) if number else days


def _age(text: str) -> float | None:
    """Return the seconds of an age; None if the text is none."""
    words = text.strip().lower().removesuffix("ago").strip()
    if words == "now":
        return 0.0
    parts = _PART.findall(words)
    units = [_SECONDS.get(unit) or _SECONDS.get(unit.removesuffix("s")) for _, unit in parts]
    if not parts or None in units or _PART.sub("", words).strip():
        return None
    age = sum(float(number) * (unit or 0) for (number, _), unit in zip(parts, units, strict=True))
    if age > _LONGEST_S:
        raise AsrLabError(f"not an age: {text!r}", allowed="100 years at most")
    return age
