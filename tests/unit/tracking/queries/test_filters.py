"""What is asked for as filters of the store: never too narrow, never anything but a value."""

import fnmatch
import sqlite3

import pytest

from asr_lab.errors import AsrLabError
from asr_lab.tracking.queries.filters import is_like, like, queries, quoted

NAMES = (
    "base-1",
    "BASE-2",
    "a%b",
    "a_b",
    "it's",
    'say "x"',
    "김철수",
    "École",
    "a\\b",
    "[x]",
    "lr=0.001,seed=1",
    "a--b;c",
)
PATTERNS = (*NAMES, "base", "BASE*", "?ase*", "[ab]*", "*철*", "école", "%", "_", "*", "lr=0.???*")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_store_lets_everything_through_that_is_asked_for(pattern):
    """SQLite's own LIKE, as MLflow calls it, on the lower-cased name."""
    text = like(pattern)
    assert "'" not in text
    assert '"' not in text
    with sqlite3.connect(":memory:") as connection:
        for name in NAMES:
            if is_like(pattern, name):
                found = connection.execute("select lower(?) like lower(?)", (name, text)).fetchone()[0]
                assert found, (pattern, name)


@pytest.mark.parametrize("pattern", ["base", "BASE*", "?ase-1", "[bc]ase*"])
def test_patterns_are_globs_or_parts_and_case_blind(pattern):
    assert is_like(pattern, "Base-1")
    assert is_like(pattern, None, "x", "base-1")
    assert not is_like(pattern, "other", None)


def test_a_glob_is_of_the_whole_name():
    assert not is_like("base*", "my-base")
    assert is_like("base", "my-base")
    assert fnmatch.fnmatchcase("my-base", "*base")


def test_a_value_has_one_kind_of_quotes():
    assert quoted("it's") == '"it\'s"'
    assert quoted("plain") == "'plain'"
    with pytest.raises(AsrLabError, match="quotes"):
        quoted('it\'s "x"')


def test_a_family_is_a_value_and_nothing_else():
    (query,) = queries("", "x' or 'a' = 'a", status="", where="", since="", archived=True, children=True)
    assert query.endswith("""tags.`asr_lab.family` = "x' or 'a' = 'a\"""")
