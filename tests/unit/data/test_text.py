"""The text normaliser and the vocabulary."""

import pytest

from asr_lab.data.text import TextNormalizer, build_vocabulary, encode, outside


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,   World! ", "hello world"),
        ("It's 'quoted' — isn’t it?", "it's quoted isn't it"),
        ("학교에 갔다.", "학교에 갔다"),
        ("학교", "학교"),
        ("e\u0301t\u00e9", "été"),
        ("twenty-one", "twenty one"),
    ],
)
def test_normalised(text, normal):
    assert TextNormalizer()(text) == normal
    assert TextNormalizer()(normal) == normal


def test_jamo_become_syllables():
    assert TextNormalizer()("\u1112\u1161\u11a8") == "학"


def test_the_name_tells_the_settings():
    assert TextNormalizer().name == "nfc-lower-nopunct"
    assert TextNormalizer("NFKC", lowercase=False, strip_punctuation=False).name == "nfkc"


def test_vocabulary_starts_with_blank_unknown_and_space():
    vocabulary = build_vocabulary(["ba ab", "c"])
    assert vocabulary == {"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4, "c": 5}
    assert encode("a cz", vocabulary) == [3, 2, 5, 1]


def test_characters_outside_are_counted_and_listed():
    assert outside(["zaz q"], build_vocabulary(["a"])) == {"z": 2, "q": 1}
