"""Marks of Korean corpora in transcripts."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import TINY, make_corpus, ok, refused

from asr_lab.data.text import TextNormalizer
from asr_lab.data.transcript_marks import CANDIDATE, MARKS, MarkCounts, without_marks


def clean(text):
    return " ".join(without_marks(text).split())


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ("{laughing} 네 {clearing}", "네"),
        ("{ laughing } 네 {noise 1} [잡음2]", "네"),
        ("네{applauding} [웃음] <noise> (기침)", "네"),
        ("안녕하세요 #@이름#입니다", "안녕하세요 입니다"),
        ("#@주소# #@전번# #이름# #@URL# #@시스템#사진# 네", "네"),
        ("&name& &name1&이 &company-name2& &tel-num& 네", "이 네"),
        ("@이름1 @상호명2 고객님", "고객님"),
        ("아 ((xx)) (()) (( )) ((x)) 네", "아 네"),
        ("아 ((뭐라고)) 네", "아 뭐라고 네"),
        ("-그- 그거 -저 -아-, 네", "그 그거 저 아, 네"),
        ("*word -word -불완전 발화- 네", "word word 불완전 발화 네"),
        ("*그거 그거* 뭐+ 아/ 어~ 네~.", "그거 그거 뭐 아 어 네."),
        ("b/ n/ 아/ 네 o/", "아 네"),
        ("(FP:어) 네 (NO:)", "어 네"),
        ("***에게 김** 씨 **", "에게 김 씨"),
        ("ㅇㅇ이가 ㅁㅁㅁ ○○대학교 □□", "이가 대학교"),
        ("네 (?) (??) [?]", "네"),
        ("(inaudible) [unintelligible 00:12] <불명> (청취 불가) 네", "네"),
        ("{laughing}네{/laughing} @웃음@ (한숨 쉬며) 네", "네 네"),
        ("name1이랑 rename1", "이랑 rename1"),
        ("company-name2 네", "네"),
        ("/음 네 /그거", "음 네 그거"),
    ],
)
def test_marks_are_no_words(marked, said):
    assert clean(marked) == said
    assert clean(said) == said


@pytest.mark.parametrize(
    "text",
    [
        "twenty-one and/or 24/7 w/o R&D & co",
        "1+1 3~5개 월~금 3시~5시",
        "(그래) C# a@b.com x-ray (laugh at him) -5도 2*3",
        "AT&T & B&B&C",
        "#1 #해시태그 we're {a b}",
        "ㅋㅋ ㅇ 2**3 too (왜?) 없음 nana",
    ],
)
def test_what_is_no_mark_stays(text):
    assert without_marks(text) == text
    assert MarkCounts.of([text]) == MarkCounts.of([])


@pytest.mark.parametrize(
    "unknown",
    [
        "{foo}",
        "&zip-code&",
        "#@새것#",
        "@손님",
        "[um]",
        "<unk>",
        "xx",
        "OO",
        "(fil:어)",
        "%뭐",
        "$뭐",
        "{ 새것 }",
        "(NPS)",
        "(BN/)",
        "SN/",
        "@BG",
        "%uh",
        "(간투어:음)",
    ],
)
def test_what_looks_like_a_mark_and_is_in_no_table_is_counted_and_reported(unknown):
    counts = MarkCounts.of([f"네 {unknown} 가요", f"{unknown}", "네"])
    assert counts.unknown == {unknown: 2}
    assert f"{unknown} in 2" in counts.notes()[-1]
    assert clean(f"네 {unknown} 가요") == f"네 {unknown} 가요"


def test_marks_are_counted_by_transcript_and_reported_by_what_becomes_of_them():
    counts = MarkCounts.of(["{laughing} 네 {laughing}", "&name1& ((뭐))", "(3개)/(세 개)", "네"])
    assert counts.known == {"{laughing}": 1, "&name1&": 1, "((뭐라고))": 1}
    assert (counts.dual, counts.unknown) == (1, {})
    assert len(counts.notes()) == 4


def test_a_transcript_of_nothing_but_a_word_for_nothing_is_reported():
    assert MarkCounts.of(["none", "NA", "none of it", "없음"]).unknown == {"none": 1, "NA": 1}
    assert clean("none") == "none"


@pytest.mark.parametrize(
    ("text", "number"),
    [("ㅇㅏㄴㄴㅕㅇ", 1), ("ㅇ ㅏ ㄴ ㄴ ㅕ ㅇ", 1), ("ᄋ ᅡ ᆫ ᄂ", 1), ("안녕 ㅋㅋ ㅇㅋ ㅠㅠ", 0)],
)
def test_transcripts_in_single_jamo_are_reported(text, number):
    counts = MarkCounts.of([text])
    assert counts.jamo == number
    assert len(counts.notes()) == number


def test_every_mark_matches_its_example():
    for mark in MARKS:
        assert all(mark.pattern.search(one) for one in mark.example.split()), mark


@pytest.mark.parametrize("transcription", ["plain", "spelling", "phonetic"])
def test_the_normaliser_leaves_no_mark(transcription):
    normalizer = TextNormalizer(transcription=transcription)
    assert normalizer("b/ {laughing} &name1&이 -그- (FP:음) 그거+ ((xx)) 맞아요~") == "이 그 음 그거 맞아요"


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_two_readings_are_refused_before_anything_is_spent(store, dry, split):
    import mlflow

    one = make_corpus(store / "one", {f"u{n}": "cab ace" for n in range(6)})
    two = make_corpus(store / "two", {f"u{n}": "(cab/ace)/(ace) b/ cab" if n < 2 else "cab" for n in range(6)})
    (store / "base.yaml").write_text("recipe: deepspeech2\n")
    data = {"train": one, "val": one, "test": one} | {split: two}
    settings = [*TINY, *(f"data.{name}={path}" for name, path in data.items())]
    said = refused("train", "base.yaml", *settings, *dry)
    assert "2 transcripts hold two readings" in said
    assert "u0, u1" in said
    assert str(two) in said
    assert not mlflow.search_runs(search_all_experiments=True).size
    for choice in ("spelling", "phonetic"):
        ok("train", "base.yaml", *settings, f"data.text.transcription={choice}", "--dry-run")


def test_no_transcript_that_is_counted_is_passed_over():
    strange = ["@BG", "%uh", "(간투어:음)", "none", "NA", "ㅇㅏㄴㄴㅕㅇ", "ᄋ ᅡ ᆫ ᄂ", "xx", "x7", "&name1&", "○○"]
    texts = [
        form.format(text) for text in (*(mark.example for mark in MARKS), *strange) for form in ("네 {} 가요", "{}")
    ]
    texts += ["네 그렇습니다", "a longer text without any"]
    table = pa.table({"text": texts})
    candidates = table.filter(pc.match_substring_regex(table["text"], CANDIDATE))["text"].to_pylist()
    assert MarkCounts.of(candidates) == MarkCounts.of(texts)
    assert "네 그렇습니다" not in candidates
