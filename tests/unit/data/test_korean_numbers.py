"""Numbers in Korean text as words."""

import pytest
from conftest import TINY, make_corpus, newest, ok

from asr_lab.data.korean_numbers import native, read_out, sino
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


ATTACHED = [  # a number is a word of its own, and its counter is another
    ("3시20분", "세 시 이십 분"),
    ("5월5일은", "오월 오 일은"),
    ("2024년12월25일", "이천이십사 년 십이월 이십오 일"),
    ("오후3시에", "오후 세 시에"),
    ("약3개", "약 세 개"),
    ("만3세", "만 삼 세"),
    ("3시반", "세 시 반"),
    ("2시간반에", "두 시간 반에"),
    ("3시반도체", "세 시반도체"),
    ("제2차 제3", "제이 차 제삼"),
    ("문제3 숙제2개", "문제 삼 숙제 두 개"),
    ("3으로 5부터 7까지", "삼으로 오부터 칠까지"),
    ("1월 3월 6월호 10월 12월", "일월 삼월 유월호 시월 십이월"),
    ("13월 6개월 03월", "십삼 월 육 개월 공삼 월"),
]

LARGE = [
    ("5천원", "오천 원"),
    ("3만원이야", "삼만 원이야"),
    ("1억 5,000만원", "일억 오천만 원"),
    ("1억5,000만원", "일억 오천만 원"),
    ("2천명", "이천 명"),
    ("1,200원", "천이백 원"),
    ("3만5천원", "삼만 오천 원"),
    ("2천5백개", "이천오백 개"),
    ("1만원 1천만 명 1억", "만 원 천만 명 일억"),
    ("1.5만 명", "일 점 오만 명"),
    ("3만큼 3만은", "삼만큼 삼만은"),
    ("3조각 3조원", "세 조각 삼조 원"),
    ("10여 명 10여명 20여 개 1만여 명", "십여 명 십여 명 이십여 개 만여 명"),
    ("3여단", "삼 여단"),
]

SIGNS = [
    ("₩5,000 ₩3만 ₩5,000원", "오천 원 삼만 원 오천 원"),
    ("$3 $3.5를 €10 £7 ¥100", "삼 달러 삼 점 오 달러를 십 유로 칠 파운드 백 엔"),
    ("5,000₩ 3$", "오천 원 삼 달러"),
    ("가격$3짜리 $2 정도", "가격 삼 달러짜리 이 달러 정도"),
    ("5kg 3km 10cm 5g 3m 2mm", "오 킬로그램 삼 킬로미터 십 센티미터 오 그램 삼 미터 이 밀리미터"),
    ("2L 2l 100ml 100mL", "이 리터 이 리터 백 밀리리터 백 밀리리터"),
    ("3㎏이 3 kg이 5KG", "삼 킬로그램이 삼 킬로그램이 오 킬로그램"),
    ("1m20cm 3m² 3m2", "일 미터 이십 센티미터 삼 제곱미터 삼 제곱미터"),
    ("3M 5G 5gb 50km/h", "삼M 오G 오gb 오십km/h"),
    ("20도 20℃ 20°C 20도가", "이십 도 이십 도 이십 도 이십 도가"),
    ("-5도 -3.5℃ -5 -5% −5", "영하 오 도 영하 삼 점 오 도 마이너스 오 마이너스 오 퍼센트 마이너스 오"),
    ("영하 5도 -$5 a-5", "영하 오 도 마이너스 오 달러 a-오"),
]

RANGES = [
    ("1~2명 2~3개 3~4명 4∼5번 5～6개", "한두 명 두세 개 서너 명 네다섯 번 대여섯 개"),
    ("6~7명 7~8개 8~9살 3 ~ 4시", "예닐곱 명 일고여덟 개 여덟아홉 살 서너 시"),
    ("3-4개 2-3일", "서너 개 이삼 일"),
    ("3~4일 2~3년 5~6학년 1~2개월", "삼사 일 이삼 년 오륙 학년 일이 개월"),
    ("20~30분 20~30대 200~300명 2,000~3,000원", "이삼십 분 이삼십 대 이삼백 명 이삼천 원"),
    ("1~2만원 3~5만원 $2~3", "일이만 원 삼에서 오만 원 이삼 달러"),
    ("1~3명 10~20명 9~10개", "한 명에서 세 명 열 명에서 스무 명 아홉 개에서 열 개"),
    ("3-5층 10~15%", "삼에서 오 층 십에서 십오 퍼센트"),
    ("12~13시", "열두 시에서 십삼 시"),
    ("3~5월 3~4월 5-6월", "삼월에서 오월 삼월에서 사월 오월에서 유월"),
    ("1.5~2.5% 1.5-2배", "일 점 오에서 이 점 오 퍼센트 일 점 오 배에서 두 배"),
    ("3시~5시 5월 ~ 6월 1만~2만원 $5~$10", "세 시에서 다섯 시 오월에서 유월 만에서 이만 원 오 달러에서 십 달러"),
    ("-5~5도 -10도~-5도", "영하 오 도에서 오 도 영하 십 도에서 영하 오 도"),
    ("1~2 3~4를", "일에서 이 삼에서 사를"),
    ("2020~2023년 2020-2023년", "이천이십에서 이천이십삼 년 이천이십에서 이천이십삼 년"),
    ("네~ 5시요", "네~ 다섯 시요"),
    ("12-3번지 101-102호 5-3개", "십이-삼 번지 백일-백이 호 오-세 개"),
]

TELEPHONES = [
    ("1588-1234", "일오팔팔 일이삼사"),
    ("1588-1899번으로 555-1234로", "일오팔팔 일팔구구번으로 오오오 일이삼사로"),
    ("전화010-1234-5678", "전화 공일공 일이삼사 오육칠팔"),
    ("82-10-1234-5678", "팔이 일공 일이삼사 오육칠팔"),
    ("5000-7000원 2020-2023", "오천에서 칠천 원 이천이십-이천이십삼"),
]

SCORES = [
    ("1대 3", "일 대 삼"),
    ("2 대 1로 3대1의", "이 대 일로 삼 대 일의"),
    ("1대1 대화", "일 대 일 대화"),
    ("버스 3대 20명 차 3대 5만원", "버스 세 대 스무 명 차 세 대 오만 원"),
    ("20대 30명", "이십 대 서른 명"),
]


@pytest.mark.parametrize(("text", "said"), [*ATTACHED, *LARGE, *SIGNS, *RANGES, *TELEPHONES, *SCORES])
def test_common_forms(text, said):
    assert read_out(text) == said
    assert read_out(said) == said


def test_wide_digits_and_long_numbers():
    assert read_out("３개 ６월") == "세 개 유월"
    assert read_out(f"{'9' * 17}.5") == f"{'구' * 17} 점 오"
    assert len(read_out("9" * 5000)) == 5000


@pytest.mark.parametrize("unicode", ["NFC", "NFKC"])
def test_signs_outlive_the_normal_form(unicode):
    normalizer = TextNormalizer(unicode=unicode, numbers="korean")
    assert normalizer("￦5,000, 3㎏, -5℃ 2㎡") == "오천 원 삼 킬로그램 영하 오 도 이 제곱미터"


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
