"""Times: what is printed can be typed, in any zone; what is absurd is one message."""

import time
from datetime import UTC, datetime

import pytest

from asr_lab.errors import AsrLabError
from asr_lab.system.times import local_time, parse_days, parse_time

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


@pytest.fixture(params=["Asia/Seoul", "America/New_York", "UTC"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("moment", ["2026-11-21T12:00:30", "2026-07-01T00:00:00", "2026-11-01T05:30:00", "1970-01-02"])
@pytest.mark.parametrize("sep", [" ", "T"])
def test_a_time_as_it_is_printed_can_be_typed(zone, moment, sep):
    ms = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)
    shown = local_time(ms + 999, sep)
    assert parse_time(shown) == parse_time(shown.replace("+", " +")) == ms
    assert datetime.fromisoformat(shown).timestamp() * 1000 == ms


def test_the_offset_is_that_of_the_day(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    summer, winter = (int(datetime(2026, month, 1, 12, tzinfo=UTC).timestamp() * 1000) for month in (7, 12))
    assert (local_time(summer), local_time(winter)) == ("2026-07-01 08:00:00-04:00", "2026-12-01 07:00:00-05:00")
    assert parse_time("2026-07-01 08:00") == summer
    assert parse_time("2026-12-01T07:00") == winter
    assert parse_time("2026-11-01 01:30") == parse_time("2026-11-01 01:30-04:00")  # the first of two
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        *(("7d", 168), ("12h", 12), ("90m", 1.5), ("2w", 336), ("2 weeks", 336), ("1 week 1 day", 192), ("1.5h", 1.5)),
        *(("3 h ago", 3), ("5 min ago", 1 / 12), ("2 d ago", 48), ("now", 0), (" 3D ", 72), ("2 days ago", 48)),
        *(("30 s", 1 / 120), ("1 h 30 min", 1.5)),
    ],
)
def test_ages_are_hours_whatever_the_clocks_do(zone, text, hours):
    assert parse_time(text, NOW) == pytest.approx((NOW - hours * 3600) * 1000)


ABSURD = ["-3d", "-1", "1000000000000d", "1e999", "1e9 d", "nan d", "inf", "9" * 400 + "d", "3 parsecs", "d", "", " "]
ABSURD += ["0000-01-01", "0001-01-01", "1969-12-31 00:00+00:00", "10000-01-01", "tomorrow", "2026-13-01", "2026-11-31"]


@pytest.mark.parametrize("text", ABSURD)
def test_what_is_no_time_is_one_message(text):
    for parse in (parse_time, parse_days):
        with pytest.raises(AsrLabError):
            parse(text)


def test_a_day_by_its_name_begins_at_midnight(zone):
    midnight = datetime.fromtimestamp(NOW).replace(hour=0).timestamp() * 1000
    assert parse_time("today", NOW) == midnight
    assert parse_time(" Yesterday", NOW) == midnight - 86_400_000


def test_days_are_a_number_an_age_or_a_time(zone):
    assert parse_days("7") == 7
    assert parse_days("0.5") == 0.5
    assert parse_days("2 weeks") == pytest.approx(14)
    assert parse_days(local_time((time.time() - 86_400) * 1000)) == pytest.approx(1, abs=1e-3)
    with pytest.raises(AsrLabError):
        parse_days("2999-01-01")
    with pytest.raises(AsrLabError):
        parse_days("1000000000000")
