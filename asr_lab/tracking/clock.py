"""The time by the clock of the tracking store: one for all machines, whose own clocks may be wrong.

A server gives it in the header `Date` of its answers, a database when it is asked, an SQLite file by its file system.
"""

from __future__ import annotations

import functools
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from asr_lab.system import files
from asr_lab.tracking.connection import health_address, sqlite_file, tracking_uri
from asr_lab.units import age

TOLERANCE_S = 30.0
"""Clocks that differ by less are taken for one: `Date` has whole seconds, and answers may be late."""
_TIMEOUT_S = 3.0
_QUERIES = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(now(3))",
    "mssql": "SELECT datediff_big(millisecond, '1970-01-01', sysutcdatetime()) / 1000.0",
}


@dataclass(frozen=True)
class Clock:
    """A clock that differs from this machine's, which may be set while it is used."""

    offset_s: float
    """Time of the store less that of this machine, when it was asked; 0 within `TOLERANCE_S`."""
    _began: float

    def __str__(self) -> str:
        """`1 h ahead of`, `2 d behind`: this machine's clock, seen from the store's."""
        return f"{age(abs(self.offset_s))} {'behind' if self.offset_s > 0 else 'ahead of'}"

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970."""
        if not self.offset_s:
            return time.time_ns() // 1_000_000
        return int((self._began + _steady_s()) * 1000)


def _steady_s() -> float:
    """Return seconds of a monotonic clock; on Linux it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def store_now_ms() -> int:
    """Return the time in milliseconds since 1970 by the clock of the tracking store."""
    return clock_of(tracking_uri()).now_ms()


@functools.cache
def clock_of(uri: str) -> Clock:
    """Return the clock of a store; this machine's where the store does not give it. It is asked once per process."""
    theirs = None
    with suppress(OSError, ValueError, TypeError, SQLAlchemyError, ImportError):
        theirs = _time_at(uri)
    offset_s = theirs - time.time() if theirs else 0.0
    return Clock(offset_s if abs(offset_s) > TOLERANCE_S else 0.0, (theirs or 0.0) - _steady_s())


def _time_at(uri: str) -> float | None:
    """Return the time at a store in seconds since 1970, None if it cannot be asked; raises what asking it raises."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme == "sqlite":
        file = sqlite_file(uri)
        return files.now(file.absolute().parent) if file else None
    if scheme in ("http", "https"):
        return _time_of_server(uri)
    if scheme in _QUERIES:
        engine = create_engine(uri)
        try:
            with engine.connect() as connection:
                return float(connection.scalar(text(_QUERIES[scheme])))
        finally:
            engine.dispose()
    return None


def _time_of_server(uri: str) -> float:
    try:
        answer = urllib.request.urlopen(health_address(uri), timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        answer = error  # any status has the header
    with answer:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
