"""Ages and sizes as text."""

from asr_lab.units import ago, megabytes


def test_ages_and_sizes():
    assert [ago(seconds) for seconds in (5, 65, 3 * 3600 + 5, 50 * 3600)] == ["now", "1 min ago", "3 h ago", "2 d ago"]
    assert [megabytes(size) for size in (900, 3_400_000, 1.2e9)] == ["1 kB", "3.4 MB", "1.2 GB"]
    assert megabytes(None) == megabytes(float("nan")) == "-"
