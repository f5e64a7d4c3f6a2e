"""Which runs a word may name: the rules alone, on lists of candidates."""

import pytest

from asr_lab.tracking.queries.find import AmbiguousRunError, Candidate, RunNotFoundError, choose_among


def id_of(beginning: str) -> str:
    return beginning.ljust(32, "0")


def run(id: str, name: str, former: str = "", *, spool: str = "", deleted: bool = False) -> Candidate:
    former_id = f"{id_of(former)} sha256:abc" if former else ""
    return Candidate(run_id=id_of(id), name=name, former_id=former_id, spool_id=spool, deleted=deleted)


RUNS = [
    run("1a2b3c", "base-1a2b3c00"),
    run("1a2b3d", "john-lr=4"),
    run("5e6f7a8b", "same"),
    run("66667777", "same"),
    run("77778888", "5e6f7a8b"),  # called as another's id begins
    run("88889999", "came-back", former="abcdabcd"),
    run("9999aaaa", "gone", deleted=True),
    run("aaaabbbb", "twice", deleted=True),
    run("bbbbcccc", "twice"),
    run("ccccdddd", 'John\'s 100%_"x"'),
    run("ddddeeee", "axb"),
    run("eeeeffff", "ada-and-more"),
    run("f0f0f0f0", "half", former="abababab"),
    run("abababab", "half-before", deleted=True),
    run("0123aaaa", "gone-not"),
    run("56785678", "shipped", spool=id_of("dadadada")),
    run("12341234", "line\nbreak \x1b[0m"),
]


def named_by(word: str) -> list[str]:
    return [one.run_id.rstrip("0") for one in choose_among(word, RUNS, lambda one: one)]


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        (id_of("5e6f7a8b"), ["5e6f7a8b"]),
        ("1a2b3c", ["1a2b3c"]),
        ("1A2B3C", ["1a2b3c"]),
        ("1a2b", ["1a2b3c", "1a2b3d"]),  # of two ids
        ("same", ["5e6f7a8b", "66667777"]),  # of two names
        ("5e6f7a8b", ["77778888"]),  # the whole name goes before an id that begins so
        ("5e6f7a8", ["5e6f7a8b"]),
        ("abcd", ["88889999"]),  # by the id it had
        (id_of("abcdabcd"), ["88889999"]),
        (id_of("abababab"), ["f0f0f0f"]),  # restored beside what is left of the deleted one
        ("dada", ["56785678"]),  # by the id under which it was recorded offline
        ("gone", ["9999aaaa"]),  # a deleted one, not another that has the word in its name
        ("twice", ["bbbbcccc"]),
        ("aaaa", ["aaaabbbb"]),
        ("JOHN-LR", ["1a2b3d"]),
        ("john", ["1a2b3d", "ccccdddd"]),
        ("john*4", ["1a2b3d"]),
        ('John\'s 100%_"x"', ["ccccdddd"]),
        ("100%", ["ccccdddd"]),
        (r"line\nbreak \u001b[0m", ["12341234"]),  # as it is printed
        ("a_b", []),  # no wildcard of SQL
        ("%", ["ccccdddd"]),
        ("ada-", ["eeeeffff"]),
        ("nobody", []),
        ("", []),
    ],
)
def test_what_a_word_names(word, ids):
    assert named_by(word) == ids


@pytest.mark.parametrize("word", ["1", "1a2", "ada", "f"])
def test_less_than_four_characters_of_an_id_name_nothing(word):
    with pytest.raises(RunNotFoundError) as raised:
        named_by(word)
    assert "four" in raised.value.what or "4" in raised.value.what
    assert ("ada-and-more (eeeeffff)" in raised.value.allowed) == (word == "ada")


def test_a_whole_name_may_be_short():
    short = run("12345678", "ab")
    assert choose_among("ab", [*RUNS, short], lambda one: one) == [short]


def test_an_active_run_is_not_hidden_by_many_deleted_ones():
    many = [run(f"{number:08x}", "x", deleted=True) for number in range(1, 60)]
    active = run("ffff0000", "x")
    assert choose_among("x", [*many, active], lambda one: one) == [active]


def test_candidates_are_reported_by_name_and_id():
    error = AmbiguousRunError("same", [RUNS[2], RUNS[3]])
    assert error.allowed == "same (5e6f7a8b), same (66667777)"
    assert "2 runs" in error.what
    assert len(error.candidates) == 2
