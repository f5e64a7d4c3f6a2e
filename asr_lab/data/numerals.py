"""Numbers in Korean text, read out: `3개` is 세 개, `3층` 삼 층, `010-1234` 공일공 일이삼사.

Korean counts in two ways. Before the counters of `_NATIVE` numbers up to 99 are native (한, 두, 스무); before all
others, behind 제, alone, and above 99 they are Sino-Korean (일, 이, 이십), in words of four digits each (Hangul
orthography, 한글 맞춤법, 44). A counter is a word of its own (43). What begins with 0, or has more than 16 digits, is
read digit by digit. A reading is one of those that are right: people also say 삼십 명 for 서른 명, and 1번 is
read as the first time (한 번), not as number one (일 번).
"""

from __future__ import annotations

import re

_DIGITS = "영일이삼사오육칠팔구"
_SPOKEN_DIGITS = "공일이삼사오육칠팔구"  # one by one: telephone numbers
_PLACES = ("", "십", "백", "천")
_GROUPS = ("", "만", "억", "조")
_UNITS = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
_BEFORE_COUNTER = {"하나": "한", "둘": "두", "셋": "세", "넷": "네", "스물": "스무"}
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_MONTHS = {6: "유", 10: "시"}  # 유월, 시월

_NATIVE = (
    "가닥", "가락", "가지", "개", "곳", "군데", "권", "그루", "그릇", "꼬집", "다발", "달",
    "대", "덩어리", "마디", "마리", "명", "모금", "바퀴", "방울", "배", "번", "벌", "봉지",
    "사람", "살", "상자", "송이", "숟가락", "시", "시간", "알", "자루", "잔", "장", "조각",
    "줄", "줌", "채", "척", "칸", "켤레", "토막", "통", "판", "포기", "해",
)  # fmt: skip
_SINO = (
    "개국", "개년", "개소", "개월", "달러", "명제", "번가", "번길", "번방", "번선", "번지", "번호",
    "배수", "시리즈", "알파", "장조", "통신", "해리",
)  # fmt: skip
"""Counters that begin like a native one, and are not."""
_COUNTERS = sorted((*_NATIVE, *_SINO), key=len, reverse=True)
_SIGNS = {"%": "퍼센트", "℃": "도", "㎏": "킬로그램", "㎞": "킬로미터", "㎝": "센티미터", "㎡": "제곱미터", "₩": "원"}

_JOINED = "은는이가을를의에로와과도만억조천백십"  # what follows a number without a space: particles, 3만

_NUMBER = re.compile(
    rf"(?P<phone>0\d*(?:-\d+)+)|(?P<whole>\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.(?P<rest>\d+))?"
    rf"(?P<gap>[ ]?)(?P<counter>{'|'.join(_COUNTERS)})?(?P<sign>[{''.join(_SIGNS)}])?(?P<next>[가-힣])?"
)


def read_out(text: str) -> str:
    """The text with its numbers as words; everything else stays as it is."""
    return _NUMBER.sub(_words, text)


def _words(match: re.Match[str]) -> str:
    if match["phone"]:
        return " ".join(_one_by_one(group) for group in match["phone"].split("-"))
    digits = match["whole"].replace(",", "")
    counter, after = match["counter"] or "", match["next"] or ""
    unit = counter + _SIGNS.get(match["sign"] or "", "")
    if match["rest"]:
        number = f"{sino(int(digits))} 점 {''.join(_DIGITS[int(digit)] for digit in match['rest'])}"
    elif (digits.startswith("0") and len(digits) > 1) or len(digits) > 16:
        number = _one_by_one(digits)
    elif not unit and after == "월" and int(digits) in _MONTHS:
        return f"{_MONTHS[int(digits)]}월"
    elif _is_native(int(digits), counter) and not match.string[: match.start()].endswith("제"):
        number = native(int(digits))
    else:
        number = sino(int(digits))
    space = " " if unit or (after and after not in _JOINED) else match["gap"]
    return f"{number}{space}{unit}{after}"


def _is_native(number: int, counter: str) -> bool:
    """Whether a counter takes the native form; the decades of an age (20대) and hours after noon (15시) do not."""
    if counter not in _NATIVE or not 1 <= number <= 99:
        return False
    return not (counter == "대" and number >= 10 and number % 10 == 0) and not (counter == "시" and number > 12)


def native(number: int) -> str:
    """A number from 1 to 99 as it stands before a counter: 세, 스무, 스물한."""
    tens, unit = _TENS[number // 10], _UNITS[number % 10]
    last = unit or tens
    return (tens if unit else "") + _BEFORE_COUNTER.get(last, last)


def sino(number: int) -> str:
    """A number below 10^16 in Sino-Korean: 십이, 만 이천, 삼억 오천만."""
    if number == 0:
        return _DIGITS[0]
    words = []
    for place, name in reversed(list(enumerate(_GROUPS))):
        group = number // 10_000**place % 10_000
        if group:
            words.append(("" if group == 1 and name == "만" else _below_10_000(group)) + name)
    return " ".join(words)


def _below_10_000(number: int) -> str:
    digits = [(number // 10**place % 10, name) for place, name in reversed(list(enumerate(_PLACES)))]
    return "".join(("" if digit == 1 and name else _DIGITS[digit]) + name for digit, name in digits if digit)


def _one_by_one(digits: str) -> str:
    return "".join(_SPOKEN_DIGITS[int(digit)] for digit in digits)
