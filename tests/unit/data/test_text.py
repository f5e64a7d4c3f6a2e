"""The text normaliser and the vocabulary."""

import pytest

from asr_lab.data.text import TextNormalizer, build_vocabulary, count_labels, encode, outside, split_units
from asr_lab.data.transcript_marks import MARKS
from asr_lab.units import frames_needed

STRANGE = [
    *(form.format(mark.example) for mark in MARKS for form in ("네 {} 가요", "{}")),
    *(
        "It's a test, isn’t it?",
        "네",
        "name1",
        "name\u0967",
        "two\nlines",
        "\0 zero",
        "...",
        " a\u2028 b ",
        "half \ud800",
        "",
        "  ",
        "\u1112\u1161\u11a8",
    ),
]


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


@pytest.mark.parametrize("transcription", ["plain", "spelling", "phonetic"])
@pytest.mark.parametrize(
    ("tagged", "said"),
    [
        ("(FP:어) 학교 (SN:에) 가요 (NO:)", "어 학교 에 가요"),
        ("학교(SN: 에서) (SP:)왔다", "학교 에서 왔다"),
        ("(NO:)", ""),
        ("(그래)", "그래"),
        ("(fp:어)", "fp 어"),
    ],
)
def test_a_tag_stands_for_what_it_holds(transcription, tagged, said):
    assert TextNormalizer(transcription=transcription)(tagged) == said


def test_a_tag_may_hold_punctuation_and_lie_in_a_dual_transcription():
    assert TextNormalizer(strip_punctuation=False)("(FP:음...) 네.") == "음... 네."
    assert TextNormalizer(transcription="spelling")("((FP:어) 3개)/((FP:어) 세 개) 줘") == "어 3개 줘"


@pytest.mark.parametrize(
    ("raw", "spelling", "phonetic"),
    [
        ("(1+1)/(원 플러스 원) 행사", "1 1 행사", "원 플러스 원 행사"),
        ("(1/2)/(이분의 일) 정도", "1 2 정도", "이분의 일 정도"),
        ("24/7 and/or", "24 7 and or", "24 7 and or"),
        ("(5%/10%)/(오 퍼센트 십 퍼센트)", "5 10", "오 퍼센트 십 퍼센트"),
        ("갔다b/ 왔다", "갔다 왔다", "갔다 왔다"),
        ("b/n/ 아/, 뭐+ 뭐* 그/+ 그거+/", "아 뭐 뭐 그 그거", "아 뭐 뭐 그 그거"),
    ],
)
def test_marks_behind_a_word_go_and_signs_between_words_part_them(raw, spelling, phonetic):
    assert TextNormalizer(transcription="spelling")(raw) == spelling
    assert TextNormalizer(transcription="phonetic")(raw) == phonetic


def test_signs_between_numbers_do_not_make_one_number():
    assert TextNormalizer(transcription="spelling", numbers="korean")("(1+1)/(원 플러스 원) 행사") == "일 일 행사"


def test_the_name_tells_the_settings():
    assert TextNormalizer().name == "nfc-lower-nopunct"
    assert TextNormalizer("NFKC", lowercase=False, strip_punctuation=False).name == "nfkc"


def test_vocabulary_starts_with_blank_unknown_and_space():
    vocabulary = build_vocabulary(["ba ab", "c"])
    assert vocabulary == {"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4, "c": 5}
    assert encode("a cz", vocabulary) == [3, 2, 5, 1]


def test_characters_outside_are_counted_and_listed():
    assert outside(["zaz q"], build_vocabulary(["a"])) == {"z": 2, "q": 1}


@pytest.mark.parametrize("settings", [{}, {"transcription": "phonetic"}, {"strip_punctuation": False}])
@pytest.mark.parametrize("texts", [STRANGE, [text for text in STRANGE if "\ud800" not in text]])
def test_many_are_normalised_as_one_by_one(texts, settings):
    normalize = TextNormalizer(**settings)
    assert normalize.all(texts) == [normalize(text) for text in texts]


@pytest.mark.parametrize("vocabulary", [build_vocabulary(["abc"]), {"a": 0, "|": 1, "c": 2}])  # the second drops others
def test_labels_are_counted_as_they_are_encoded(vocabulary):
    assert count_labels([], vocabulary).labels.tolist() == []
    texts = ["aab cc", "xax", "", "a x a", "\U0010ffff a", *STRANGE[-1:]]
    counted = count_labels(texts, vocabulary)
    encoded = [encode(text, vocabulary) for text in texts]
    assert counted.labels.tolist() == [len(labels) for labels in encoded]
    assert counted.frames.tolist() == [frames_needed(labels) for labels in encoded]
    assert counted.unknown == outside(texts, vocabulary)


@pytest.mark.parametrize(
    ("transcription", "written"),
    [
        ("spelling", "70 확률이라니 아 뭐 그런데"),
        ("phonetic", "칠 십 퍼센트 확률이라니 아 뭐 그런데"),
    ],
)
def test_dual_transcriptions(transcription, written):
    raw = "b/ (70%)/(칠 십 퍼센트) 확률이라니 아/ 뭐+ l/ 그런데* n/"
    normalizer = TextNormalizer(transcription=transcription)
    assert normalizer(raw) == written
    assert normalizer.name == f"{transcription}-nfc-lower-nopunct"
    assert TextNormalizer().name == "nfc-lower-nopunct"


def test_what_kospeech_says_of_signs():
    assert TextNormalizer(transcription="phonetic")("5% #") == "5퍼센트 샾"


def test_jamo_make_a_small_vocabulary():
    normalizer = TextNormalizer(units="jamo")
    texts = [split_units(chr(code), normalizer) for code in range(0xAC00, 0xAC00 + 2000)]
    assert len(build_vocabulary(texts)) < 60
