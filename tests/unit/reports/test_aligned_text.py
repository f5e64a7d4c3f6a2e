"""References and hypotheses as aligned text."""

from asr_lab.reports.aligned_text import side_by_side


def lines(reference, *hypotheses):
    return [[cell.text for cell in line] for line in side_by_side(reference, hypotheses)]


def test_words_stand_under_words():
    assert lines("the cat sat", "the fog sat", "the cat") == [
        ["the", "cat", "sat"], ["the", "fog", "sat"], ["the", "cat", "***"]
    ]  # fmt: skip


def test_a_word_more_has_a_column_of_its_own():
    said, first, second = lines("a b", "a x b y", "a b z")
    assert said == ["a", "", "b", ""]
    assert first == ["a", "x", "b", "y"]
    assert second == ["a", "", "b", "z"]


def test_empty_reference_or_empty_hypothesis():
    assert lines("", "x", "") == [[""], ["x"], [""]]
    assert lines("a b", "", "a b") == [["a", "b"], ["***", "***"], ["a", "b"]]


def test_korean_takes_two_cells_a_syllable():
    said, heard = side_by_side("나는 간다", ["나 간다"])
    assert [cell.width for cell in said] == [4, 4]
    assert len(heard[0]) == 2
