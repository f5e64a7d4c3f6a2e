"""Counts, ages and sizes as text."""

from asr_lab.units import ago, all_of, counted, megabytes


def test_ages_and_sizes():
    assert [ago(seconds) for seconds in (5, 65, 3 * 3600 + 5, 50 * 3600)] == ["now", "1 min ago", "3 h ago", "2 d ago"]
    assert [megabytes(size) for size in (900, 3_400_000, 1.2e9)] == ["1 kB", "3.4 MB", "1.2 GB"]
    assert megabytes(None) == megabytes(float("nan")) == "-"


def test_a_count_agrees_with_its_noun_and_its_verb():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [counted(1, "run", verb) for verb in ("are", "have", "lack")] == ["1 run is", "1 run has", "1 run lacks"]
    assert (counted(2, "run", "have"), all_of(2, "run"), all_of(1, "run")) == (
        "2 runs have",
        "all 2 runs",
        "the only run",
    )
    assert all_of(11, "run", "agree") == "all 11 runs agree"
