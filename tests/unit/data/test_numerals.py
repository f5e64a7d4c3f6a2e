"""Numbers in Korean text, read out."""

import pytest
from conftest import TINY, make_corpus, newest, ok

from asr_lab.data.numerals import native, read_out, sino
from asr_lab.data.text import TextNormalizer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("사과 3개를 샀다", "사과 세 개를 샀다"),
        ("사과 3 개", "사과 세 개"),
        ("3층에 20명이 있다", "삼 층에 스무 명이 있다"),
        ("21살, 1마리, 2권, 4번째", "스물한 살, 한 마리, 두 권, 네 번째"),
        ("3시 30분", "세 시 삼십 분"),
        ("15시에", "십오 시에"),
        ("5개월 2번지", "오 개월 이 번지"),
        ("5시간", "다섯 시간"),
        ("20대가 3대를", "이십 대가 세 대를"),
        ("2학년 1반", "이 학년 일 반"),
        ("2024년 6월 10일", "이천이십사 년 유월 십 일"),
        ("10월", "시월"),
        ("16월", "십육 월"),
        ("100개", "백 개"),
        ("1,234,567원", "백이십삼만 사천오백육십칠 원"),
        ("10000원", "만 원"),
        ("3.14 정도", "삼 점 일사 정도"),
        ("70%가", "칠십 퍼센트가"),
        ("010-1234-5678", "공일공 일이삼사 오육칠팔"),
        ("007", "공공칠"),
        ("정답은 7이다", "정답은 칠이다"),
        ("1, 2, 3", "일, 이, 삼"),
        ("0점", "영 점"),
        ("제3장 3장", "제삼 장 세 장"),
        ("3만 5천 원, 2억", "삼만 오천 원, 이억"),
        ("숫자가 없다", "숫자가 없다"),
    ],
)
def test_read_out(text, said):
    assert read_out(text) == said
    assert read_out(said) == said


def test_every_number_has_a_name_of_its_own():
    assert len({sino(number) for number in range(100_000)}) == 100_000
    assert len({native(number) for number in range(1, 100)}) == 99
    assert sino(10**16 - 1) == "구천구백구십구조 구천구백구십구억 구천구백구십구만 구천구백구십구"
    assert sino(100_000_000) == "일억"
    assert native(20) == "스무"


def test_the_normaliser_reads_after_choosing_the_transcription():
    normalizer = TextNormalizer(transcription="spelling", numbers="korean")
    assert normalizer("b/ (3개)/(세 개) 있어+ 50%") == "세 개 있어 오십 퍼센트"
    assert normalizer.name == "spelling-nfc-numbers-lower-nopunct"
    assert TextNormalizer()("3개") == "3개"


def test_a_model_keeps_how_it_reads_numbers(store):
    corpus = make_corpus(store / "corpus", {f"u{i}": f"cab {i}개" for i in range(6)})
    (store / "base.yaml").write_text("recipe: deepspeech2\n")
    data = [f"data.train={corpus}", f"data.val={corpus}", *TINY, "train.epochs=1", "data.text.numbers=korean"]
    ok("train", "base.yaml", *data, "run.register_as=tiny")
    from asr_lab.tracking import load_model

    recognizer = load_model("models:/tiny/1")
    assert recognizer.normalizer.numbers == "korean"
    assert {"개", "섯", "두"} <= set(recognizer.vocabulary)
    assert "3" not in recognizer.vocabulary
    assert newest("deepspeech2").data.tags["asr_lab.text"] == "nfc-numbers-lower-nopunct"
